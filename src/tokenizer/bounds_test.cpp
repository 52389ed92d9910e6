// The resources that a hostile tokenizer.json, template or text can use: little, followed by an error.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ctime>
#include <future>
#include <vector>

#include "base/error.h"
#include "base/stop.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/grammar.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {
namespace {

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

/// Its tokens are the bytes, and "aa".
Json small_tokenizer() {
  Json vocab = Json::object();
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
  for (const char* piece : {"Ġ", "Ċ", "aa"}) vocab[piece] = vocab.size();
  return {{"normalizer", nullptr},
          {"pre_tokenizer", byte_level(true)},
          {"post_processor", nullptr},
          {"decoder", byte_level(true)},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a a"}}}}};
}

Json repeated(const char* list, const Json& step, size_t count) {
  Json sequence = {{"type", "Sequence"}, {list, Json::array()}};
  for (size_t i = 0; i < count; ++i) sequence[list].push_back(step);
  return sequence;
}

Json replace(const Json& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
}

Json split(const std::string& regex, const char* behavior = "Isolated") {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behavior}, {"invert", false}};
}

Json template_processing(const Json& single, const Json& ids) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})},
          {"special_tokens", {{"x", {{"id", "x"}, {"ids", ids}, {"tokens", Json(ids.size(), "x")}}}}}};
}

std::shared_ptr<const Tokenizer> load(const Json& json) { return Tokenizer::from_json(json.dump(), {}, "test"); }

std::shared_ptr<const Tokenizer> with(const char* part, Json value) {
  Json json = small_tokenizer();
  json[part] = std::move(value);
  return load(json);
}

std::string refusal(const std::function<void()>& act, ErrorKind kind) {
  try {
    act();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

const Json kText = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
const Json kSpecial = {{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}};

TEST(TokenizerBounds, what_the_steps_may_add_is_bounded_before_any_text_comes) {
  const Json doubling = replace({{"String", "a"}}, "aa");
  const std::vector<std::pair<const char*, Json>> hostile = {
      {"normalizer", repeated("normalizers", {{"type", "ByteLevel"}}, 30)},
      {"pre_tokenizer", repeated("pretokenizers", byte_level(false), 30)},
      {"normalizer", repeated("normalizers", doubling, 30)},
      {"normalizer", repeated("normalizers", replace({{"Regex", ""}}, "b"), 30)},
      {"normalizer", replace({{"String", "a"}}, std::string(5'000, 'a'))},
      {"normalizer", {{"type", "Prepend"}, {"prepend", std::string(5'000, 'a')}}},
      {"normalizer", repeated("normalizers", {{"type", "NFC"}}, 5'000)},
      {"decoder", repeated("decoders", doubling, 30)},
      {"post_processor", template_processing(Json(1'000, kText), Json::array({1}))},
      {"post_processor", template_processing(Json::array({kText, kSpecial}), Json(100'000, 1))},
      {"post_processor", repeated("processors", template_processing({kText, kText}, Json::array({1})), 30)},
      {"post_processor", template_processing(Json::array({kSpecial}), Json::array({1}))},
  };
  for (const auto& [part, value] : hostile) {
    SCOPED_TRACE(value.dump().substr(0, 200));
    EXPECT_NE(refusal([&, part = part, value = value] { with(part, value); }, ErrorKind::bad_model), "");
  }
  Json word_piece = small_tokenizer();
  word_piece["model"] = {{"type", "WordPiece"},
                         {"vocab", {{"a", 0}, {"[UNK]", 1}}},
                         {"unk_token", "[UNK]"},
                         {"continuing_subword_prefix", "##"},
                         {"max_input_chars_per_word", 1'000'000'000}};
  EXPECT_NE(refusal([&] { load(word_piece); }, ErrorKind::bad_model).find("max_input_chars_per_word"),
            std::string::npos);
  Json prefix = small_tokenizer();
  prefix["model"]["continuing_subword_prefix"] = std::string(5'000, '#');
  EXPECT_NE(refusal([&] { load(prefix); }, ErrorKind::bad_model), "");
}

TEST(TokenizerBounds, usual_steps_are_taken) {
  const auto spaces = with("normalizer", repeated("normalizers", replace({{"String", " "}}, "▁"), 2));
  EXPECT_EQ(spaces->encode("a", false).size(), 1U);
  const auto around = with("post_processor", template_processing(Json::array({kSpecial, kText, kSpecial}), {7, 8}));
  const int32_t a = *around->token_to_id("a");
  EXPECT_EQ(around->encode("a", true), (std::vector<int32_t>{7, 8, a, 7, 8}));
  EXPECT_EQ(around->encode("a", false), std::vector<int32_t>{a});
  EXPECT_EQ(around->encode("", true), (std::vector<int32_t>{7, 8, 7, 8}));
}

/// Cutting piece by piece must give the crate's result, which cuts all at once if a step needs it.
TEST(TokenizerBounds, both_ways_of_cutting_agree) {
  const std::string text = "Hello  world's 1234 (x)\n\n\tend   aaaaa  a ";
  const auto whole = [](Json steps) {
    // A merge that never matches changes nothing, but does not cut pieces by itself.
    steps.insert(steps.begin(), split("\\x00", "MergedWithPrevious"));
    return Json{{"type", "Sequence"}, {"pretokenizers", steps}};
  };
  for (const Json& steps : {Json::array({byte_level(true)}), Json::array({split("\\d{1,3}"), byte_level(false)}),
                            Json::array({split("\\s+", "Removed"), byte_level(false)}),
                            Json::array({{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)}),
                            Json::array({{{"type", "Digits"}, {"individual_digits", false}}, byte_level(true)})}) {
    SCOPED_TRACE(steps.dump());
    const auto pieces = with("pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}});
    const auto ids = pieces->encode(text, false);
    EXPECT_GT(ids.size(), 20U);
    EXPECT_EQ(ids, with("pre_tokenizer", whole(steps))->encode(text, false));
  }
}

TEST(TokenizerBounds, a_regular_expression_that_takes_too_long_is_ended) {
  const std::string text(200'000, 'a');
  for (const char* regex : {"a*(?=b)|a", "(?:a|a)*(?=b)|a"}) {
    SCOPED_TRACE(regex);
    const auto cut = with("pre_tokenizer", split(regex));
    EXPECT_NE(refusal([&] { cut->encode(text, false); }, ErrorKind::bad_model), "");
    const auto replaced = with("normalizer", replace({{"Regex", regex}}, "b"));
    EXPECT_NE(refusal([&] { replaced->encode(text, false); }, ErrorKind::bad_model), "");
  }
}

TEST(TokenizerBounds, tokenizing_ends_at_the_most_tokens) {
  const auto tokenizer = load(small_tokenizer());
  const std::string text(1'000, '7');
  EXPECT_EQ(tokenizer->encode(text, false, 1'000).size(), 1'000U);
  EXPECT_THROW(tokenizer->encode(text, false, 999), TextTooLong);
  EXPECT_THROW(tokenizer->encode(std::string(30 << 20, '7'), false, 1'000'000), TextTooLong);
  EXPECT_THROW(tokenizer->encode(std::string(30 << 20, '7'), false), TextTooLong);
}

TEST(TokenizerBounds, tokenizing_ends_when_nobody_waits) {
  const auto tokenizer = load(small_tokenizer());
  std::string text;
  while (text.size() < (8 << 20)) text += "some words ";
  int asked = 0;
  const StopScope scope([&] {
    if (++asked == 2) throw Error(ErrorKind::cancelled, "the client has gone");
  });
  refusal([&] { tokenizer->encode(text, false); }, ErrorKind::cancelled);
  EXPECT_EQ(asked, 2);
}

/// Two lists, each of sixty levels whose two halves are the same list.
constexpr const char* kShared =
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
    "{% set ns.b = [ns.b, ns.b] %}{% endfor %}";

TEST(TemplateBounds, lists_that_share_their_parts_are_refused) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  const std::clock_t begun = std::clock();
  std::vector<std::future<std::string>> renders;
  // Each uses all of a render's time; the others of the kind (<, in, unique, ~, join, maps) share the code.
  for (const char* use :
       {"{{ ns.a == ns.b }}", "{{ [ns.a, ns.b] | sort | length }}", "{{ ns.a | tojson }}", "{{ ns.a }}"}) {
    renders.push_back(std::async(std::launch::async, [use, &messages] {
      const auto bomb = ChatTemplate::compile(std::string(kShared) + use, Json::object());
      const std::string first = refusal([&] { bomb->render(messages, {}); }, ErrorKind::invalid);
      refusal([&] { bomb->render(messages, {}); }, ErrorKind::invalid);
      return first;
    }));
  }
  for (auto& render : renders) EXPECT_NE(render.get(), "");
  // Processor time: eight renders of 2 s, each stopped after 4 s at the latest.
  EXPECT_LT(static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC, 80);
}

/// A template that is slow for one client's messages is not refused for others.
TEST(TemplateBounds, a_slow_render_leaves_the_template_to_others) {
  const auto fair = ChatTemplate::compile(
      "{% for m in messages %}{{ messages[0].content.strip() | length }} {% endfor %}", Json::object());
  Json messages = Json::array({{{"role", "user"}, {"content", std::string(8 << 20, 'x')}}});
  const Json message = {{"role", "user"}, {"content", "x"}};
  for (int i = 0; i < 50'000; ++i) messages.push_back(message);
  EXPECT_NE(refusal([&] { fair->render(messages, {}); }, ErrorKind::invalid).find("time"), std::string::npos);
  EXPECT_EQ(fair->render(Json::array({message}), {}), "1 ");
}

TEST(TemplateBounds, deep_values_are_compared_and_freed_without_overflowing_the_stack) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  const std::string deep =
      "{% set ns = namespace(a=[1], b=[1]) %}{% for j in range(7) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}"
      "{% set ns.b = [ns.b] %}{% endfor %}{% endfor %}";
  for (const char* use : {"{{ ns.a == ns.b }}", "{{ [ns.a, ns.b] | sort | length }}", "{{ 'x' }}"}) {
    SCOPED_TRACE(use);
    try {  // stack depth and allocation cost depend on the compiler
      ChatTemplate::compile(deep + use, Json::object())->render(messages, {});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::invalid) << e.what();
    }
  }
  const auto printed = ChatTemplate::compile(deep + "{{ ns.a }}", Json::object());
  EXPECT_NE(refusal([&] { printed->render(messages, {}); }, ErrorKind::invalid), "");
}

TEST(TemplateBounds, rendering_ends_when_nobody_waits) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  const auto slow = ChatTemplate::compile(std::string(kShared) + "{{ ns.a == ns.b }}", Json::object());
  const StopScope scope([] { throw Error(ErrorKind::cancelled, "the client has gone"); });
  refusal([&] { slow->render(messages, {}); }, ErrorKind::cancelled);
}

TEST(GrammarBounds, fair_schemas_work_and_others_are_called_too_complex) {
  Json json = small_tokenizer();
  json["added_tokens"] = {{{"id", json["model"]["vocab"].size()}, {"content", "<eos>"}, {"special", true}}};
  const GrammarCompiler compiler(Tokenizer::from_json(json.dump(), {{"eos_token", "<eos>"}}, "test"));
  Json optional = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 500; ++i) optional["properties"]["property_" + std::to_string(i)] = {{"type", "string"}};
  Json any = {{"anyOf", Json::array()}};
  for (int i = 0; i < 200; ++i) {
    const std::string name = "kind_" + std::to_string(i);
    any["anyOf"].push_back({{"type", "object"},
                            {"properties", {{"type", {{"const", name}}}, {name, {{"type", "integer"}}}}},
                            {"required", {"type", name}},
                            {"additionalProperties", false}});
  }
  const auto many_alternatives = [](int count) {
    std::string rule = "start: rule\nrule: \"a0\"";
    for (int i = 1; i < count; ++i) rule += fmt::format(" | \"a{}\"", i);
    return rule;
  };
  const auto many_rules = [](int count) {
    std::string rules = "start: r0";
    for (int i = 1; i < count; ++i) rules += " | r" + std::to_string(i);
    for (int i = 0; i < count; ++i) rules += fmt::format("\nr{0}: \"a{0}\" \"b\"", i);
    return rules;
  };
  const std::string rules = many_rules(2'000);
  // Generates to the end of a text that the grammar allows.
  const auto walk = [&](Grammar grammar, const std::string& text) {
    std::vector<uint32_t> mask(static_cast<size_t>(compiler.tokenizer()->vocab_size() + 31) / 32);
    for (const int32_t id : compiler.tokenizer()->encode(text, false)) {
      ASSERT_NO_THROW(grammar.allowed(mask)) << text;
      ASSERT_TRUE(mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) << id << " in " << text;
      ASSERT_TRUE(grammar.accept(id)) << id << " in " << text;
    }
  };
  walk(compiler.json_schema(optional.dump()), R"({"property_0":"x","property_250":"y","property_499":"z","other":1})");
  walk(compiler.json_schema(any.dump()), R"({"type":"kind_150","kind_150":3})");
  walk(compiler.lark(many_alternatives(2'000)), "a1999");
  walk(compiler.lark(rules), "a1999b");
  const std::string said = refusal([&] { compiler.lark(many_alternatives(25'000)); }, ErrorKind::invalid);
  EXPECT_NE(said.find("too complex"), std::string::npos) << said;
}

}  // namespace
}  // namespace mlxk
