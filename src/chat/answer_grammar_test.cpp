#include "chat/answer_grammar.h"

#include <gtest/gtest.h>

#include <ctime>

#include "base/error.h"
#include "chat/completion.h"
#include "chat/tools/tool_formats.h"
#include "worker/token_constraint.h"

namespace mlxk {
namespace {

using Kind = AnswerGrammar::Kind;
using Choice = ToolOptions::Choice;

/// A byte-level vocabulary of single characters, some longer pieces, and special tokens.
std::shared_ptr<const Tokenizer> characters(const std::vector<std::string>& special) {
  Json vocab = Json::object();
  const auto letter = [](uint32_t code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
  };
  uint32_t moved = 256;  // byte-level vocabularies write unprintable bytes as letters from here on
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    vocab[letter(shown ? byte : moved++)] = vocab.size();
  }
  for (const char* piece : {"<tool", "_call", ">{\"", "{\"", "<eos>"}) vocab[piece] = vocab.size();
  Json added = {{{"id", vocab["<eos>"]}, {"content", "<eos>"}, {"special", true}}};
  for (const std::string& token : special) {
    vocab[token] = vocab.size();
    added.push_back({{"id", vocab[token]}, {"content", token}, {"special", true}});
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json json = {{"added_tokens", added},
                     {"pre_tokenizer", byte_level},
                     {"decoder", byte_level},
                     {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
  return Tokenizer::from_json(json.dump(), {{"eos_token", "<eos>"}}, "test");
}

const std::vector<std::string> kSpecial = {"<think>",
                                           "</think>",
                                           "<|channel|>",
                                           "<|message|>",
                                           "<|start|>",
                                           "<|end|>",
                                           "<|constrain|>",
                                           "<|call|>",
                                           "<|tool_call>",
                                           "<tool_call|>",
                                           "<|\"|>",
                                           "[TOOL_CALLS]",
                                           "[ARGS]",
                                           "<|tool_calls_section_begin|>",
                                           "<|tool_calls_section_end|>",
                                           "<|tool_call_begin|>",
                                           "<|tool_call_argument_begin|>",
                                           "<|tool_call_end|>",
                                           "<|tool_call_start|>",
                                           "<|open|>",
                                           "<|close|>",
                                           "<|sep|>",
                                           "<|START_ACTION|>",
                                           "<|tools_prefix|>",
                                           "<|tools_suffix|>",
                                           "]<]minimax[>[",
                                           "<|END_ACTION|>"};

const ReasoningFormat kNoReasoning;
const ReasoningFormat kThink = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
const ReasoningFormat kHarmonyReasoning = {ReasoningFormat::Kind::harmony, "", "", false};

class AnswerGrammarTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = characters(kSpecial);
    compiler_ = std::make_unique<GrammarCompiler>(tokenizer_);
  }
  static void TearDownTestSuite() {
    compiler_.reset();
    tokenizer_.reset();
  }

  static ToolOptions weather(Choice choice = Choice::automatic) {
    ToolOptions options;
    options.tools =
        Json::parse(R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
        "properties": {"city": {"type": "string", "enum": ["Ulm", "Bonn"]}, "days": {"type": "integer"},
        "note": {"type": "string"}}, "required": ["city"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "now"}}])");
    options.choice = choice;
    return options;
  }
  static std::shared_ptr<TokenConstraint> constrain(const AnswerGrammar& grammar, const ToolOptions& tools = {},
                                                    const ToolFormat* format = nullptr,
                                                    const ReasoningFormat& reasoning = kNoReasoning) {
    return make_constraint(*compiler_, grammar, tools, format, reasoning);
  }
  static bool allows(TokenConstraint& constraint, int32_t id) {
    std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_->vocab_size() + 31) / 32);
    constraint.allowed(mask);
    return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
  }
  static bool may_end(TokenConstraint& constraint) { return allows(constraint, tokenizer_->eos_token_ids().front()); }

  /// Writes `text` token by token as far as allowed. Returns the rest that was not allowed; "." if all was written and
  /// the text may end, "…" if it must continue.
  static std::string rest(TokenConstraint& constraint, const std::string& text) {
    const auto ids = tokenizer_->encode(text, false);
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string behind = tokenizer_->decode(std::span(ids).subspan(i), false);
      if (!allows(constraint, ids[i])) return behind;
      EXPECT_TRUE(constraint.accept(ids[i])) << behind;
    }
    return may_end(constraint) ? "." : "…";
  }
  static std::string written(const std::shared_ptr<TokenConstraint>& constraint, const std::string& text) {
    return rest(*constraint, text);
  }

  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::unique_ptr<GrammarCompiler> compiler_;
};
std::shared_ptr<const Tokenizer> AnswerGrammarTest::tokenizer_;
std::unique_ptr<GrammarCompiler> AnswerGrammarTest::compiler_;

TEST_F(AnswerGrammarTest, HoldsAnAnswerToItsGrammar) {
  EXPECT_EQ(constrain({}), nullptr);
  EXPECT_EQ(written(constrain({Kind::json_object, ""}), R"({"a": [1, true]})"), ".");
  EXPECT_EQ(written(constrain({Kind::json_object, ""}), "[1]"), "[1]");
  EXPECT_EQ(written(constrain({Kind::json_object, ""}), R"({"a": )"), "…");
  const AnswerGrammar schema = {Kind::json_schema, R"({"type": "object", "properties": {"n": {"type": "integer"}},
      "required": ["n"], "additionalProperties": false})"};
  EXPECT_EQ(written(constrain(schema), R"({"n": 12})"), ".");
  EXPECT_EQ(written(constrain(schema), R"({"n": "x"})"), R"("x"})");
  EXPECT_EQ(written(constrain({Kind::regex, "[a-c]+/x"}), "abc/x"), ".");
  EXPECT_EQ(written(constrain({Kind::lark, "start: \"yes\" | \"no\""}), "no"), ".");
}

TEST_F(AnswerGrammarTest, IsFreeWhileTheModelReasons) {
  const AnswerGrammar json = {Kind::json_object, ""};
  EXPECT_EQ(written(constrain(json, {}, nullptr, kThink), "<think>hm { </think>\n\n{\"a\": 1}"), ".");
  EXPECT_EQ(written(constrain(json, {}, nullptr, kThink), "<think>hm"), "…");
  EXPECT_EQ(written(constrain(json, {}, nullptr, kThink), "{\"a\": 1}"), ".");
  EXPECT_EQ(written(constrain(json, {}, nullptr, kThink), "hm"), "hm");
  ReasoningFormat inside = kThink;
  inside.prompt_opens = true;
  EXPECT_EQ(written(constrain(json, {}, nullptr, inside), "hm</think>{\"a\": 1}"), ".");
  EXPECT_EQ(written(constrain(json, {}, nullptr, inside), "hm</think>yes"), "yes");
  const AnswerGrammar regex = {Kind::regex, "yes|no"};
  EXPECT_EQ(written(constrain(regex, {}, nullptr, inside), "hm</think>\nyes"), ".");
}

TEST_F(AnswerGrammarTest, HoldsHarmonysFinalMessage) {
  const AnswerGrammar json = {Kind::json_object, ""};
  const auto harmony = [&](const ToolOptions& tools, const AnswerGrammar& grammar, const std::string& text) {
    return written(constrain(grammar, tools, &harmony_format(), kHarmonyReasoning), text);
  };
  EXPECT_EQ(harmony({}, json,
                    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{\"a\":1}"),
            ".");
  EXPECT_EQ(harmony({}, json, "<|channel|>final<|message|>yes"), "yes");
  EXPECT_EQ(harmony(weather(), {},
                    "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}"),
            ".");
  EXPECT_EQ(harmony(weather(), {},
                    "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Rom\"}"),
            "Rom\"}");
  EXPECT_EQ(harmony(weather(), {}, "<|channel|>final<|message|>yes"), ".");
  EXPECT_EQ(harmony(weather(Choice::required), {}, "<|channel|>final<|message|>yes"), "final<|message|>yes");
}

TEST_F(AnswerGrammarTest, HoldsCallsToTheirToolsOnceTheyBegin) {
  const ToolFormat* format = &json_tools_format();
  const std::string open = "<tool_call>\n{\"name\": \"";
  EXPECT_EQ(written(constrain({}, weather(), format), "Some {\"free\"} <text> <tool"), ".");
  EXPECT_EQ(written(constrain({}, weather(), format),
                    "So: " + open + "weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>"),
            ".");
  EXPECT_EQ(written(constrain({}, weather(), format), open + "weather\", \"arguments\": {\"city\": \"Ulm\"}}"), "…");
  EXPECT_EQ(written(constrain({}, weather(), format), open + "wetter"), "tter");
  EXPECT_EQ(written(constrain({}, weather(), format), open + "weather\", \"arguments\": {}}"), "}}");
  const std::string twice =
      open + "now\", \"arguments\": {}}\n</tool_call>\n" + open + "now\", \"arguments\": {}}\n</tool_call>";
  EXPECT_EQ(written(constrain({}, weather(), format), twice), ".");
  ToolOptions one = weather();
  one.parallel = false;
  EXPECT_EQ(written(constrain({}, one, format), twice).substr(0, 6), "\n<tool");
  // A token that extends past the marker would escape the grammar.
  const auto constraint = constrain({}, weather(), format);
  for (const char* piece : {"<tool", "_call"}) ASSERT_TRUE(constraint->accept(*tokenizer_->token_to_id(piece)));
  EXPECT_FALSE(allows(*constraint, *tokenizer_->token_to_id(">{\"")));
  EXPECT_TRUE(allows(*constraint, *tokenizer_->token_to_id(">")));
}

TEST_F(AnswerGrammarTest, HoldsACallThatBeginsTheAnswerWithoutAMarker) {
  const auto answer = [&](const std::string& text) {
    return written(constrain({}, weather(), &llama3_format()), text);
  };
  const std::string call = R"({"name": "weather", "parameters": {"city": "Ulm"}})";
  EXPECT_EQ(answer(call), ".");
  EXPECT_EQ(answer("\n\n" + call + R"(; {"name": "now", "parameters": {}})"), ".");
  EXPECT_EQ(answer(R"({"name": "weather", "parameters": {"town": 1}})"), "town\": 1}}");
  EXPECT_EQ(answer(R"({"name": "weather", "city")"), "city\"");
  EXPECT_EQ(answer(R"({"name": "Ulm", "people": 1})"), ".");  // other JSON is an answer
  EXPECT_EQ(answer("So: " + call + " and " + call), ".");     // after text it is not a call
  const auto first = constrain({}, weather(), &llama3_format());
  EXPECT_EQ(rest(*another_constraint(first), call), ".");
}

TEST_F(AnswerGrammarTest, MakesTheModelCallWhereItMust) {
  const ToolFormat* format = &json_tools_format();
  const std::string call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  EXPECT_EQ(written(constrain({}, weather(Choice::required), format), call), ".");
  EXPECT_EQ(written(constrain({}, weather(Choice::required), format), "No."), "No.");
  ToolOptions named = weather(Choice::named);
  named.name = "weather";
  EXPECT_EQ(written(constrain({}, named, format), call), "now\", \"arguments\": {}}\n</tool_call>");
  EXPECT_EQ(written(constrain({}, weather(Choice::required), format, kThink), "<think>so</think>\n\n" + call), ".");
  named.name = "nobody";
  EXPECT_THROW(constrain({}, named, format), Error);
  EXPECT_THROW(constrain({}, weather(Choice::required)), Error);
  const AnswerGrammar json = {Kind::json_object, ""};
  EXPECT_EQ(written(constrain(json, weather(), format), call), ".");
  EXPECT_EQ(written(constrain(json, weather(), format), "{\"a\": 1}"), ".");
  EXPECT_EQ(written(constrain(json, weather(), format), "No."), "No.");
}

struct FamilyCall {
  const ToolFormat* format;
  const char *call, *wrong;  // wrong: the schema refuses it from this place on
};

TEST_F(AnswerGrammarTest, WritesEveryFamilysCallsAndTheSplitterReadsThem) {
  const FamilyCall families[] = {
      {&json_tools_format(),
       "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}\n</tool_call>",
       ""},
      {&minimax_m2_format(),
       "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Ulm</parameter>\n<parameter "
       "name=\"days\">2</parameter>\n<parameter name=\"note\">n</parameter>\n</invoke>\n</minimax:tool_call>",
       ""},
      {&qwen3_coder_format(),
       "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n2\n</"
       "parameter>\n<parameter=note>\nn\n</parameter>\n</function>\n</tool_call>",
       ""},
      {&minicpm5_format(),
       "<function name=\"weather\"><param name=\"city\">Ulm</param><param name=\"days\">2</param><param "
       "name=\"note\">n</param></function>",
       ""},
      {&muse_spark_format(),
       "<atem:function_calls>\n<atem:invoke name=\"weather\">\n<atem:parameter "
       "name=\"city\">Ulm</atem:parameter>\n<atem:parameter name=\"days\">2</atem:parameter>\n<atem:parameter "
       "name=\"note\">n</atem:parameter>\n</atem:invoke>\n</atem:function_calls>",
       ""},
      {&glm47_format(),
       "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n<arg_key>days</"
       "arg_key>\n<arg_value>2</arg_value>\n<arg_key>note</arg_key>\n<arg_value>n</arg_value>\n</tool_call>",
       ""},
      {&longcat_format(),
       "<longcat_tool_call>weather\n<longcat_arg_key>city</longcat_arg_key>\n<longcat_arg_value>Ulm</"
       "longcat_arg_value>\n<longcat_arg_key>days</longcat_arg_key>\n<longcat_arg_value>2</"
       "longcat_arg_value>\n<longcat_arg_key>note</longcat_arg_key>\n<longcat_arg_value>n</longcat_arg_value>\n</"
       "longcat_tool_call>",
       ""},
      {&kimi_k2_format(),
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"city\": "
       "\"Ulm\", \"days\": 2, \"note\": \"n\"}<|tool_call_end|><|tool_calls_section_end|>",
       ""},
      {&kimi_k3_format(),
       "<|open|>tools<|sep|><|open|>call tool=\"weather\"<|sep|><|open|>argument key=\"city\" "
       "type=\"string\"<|sep|>Ulm<|close|>argument<|sep|><|open|>argument key=\"days\" "
       "type=\"integer\"<|sep|>2<|close|>argument<|sep|><|open|>argument key=\"note\" "
       "type=\"string\"<|sep|>n<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>",
       ""},
      {&mistral_format(), "[TOOL_CALLS]weather[ARGS]{\"city\": \"Ulm\", \"days\": 2, \"note\": \"n\"}", ""},
      {&deepseek_format(),
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       ""},
      {&deepseek_dsml_format(),
       "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" "
       "string=\"true\">Ulm</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" "
       "string=\"false\">2</｜DSML｜parameter>\n<｜DSML｜parameter name=\"note\" "
       "string=\"true\">n</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
       ""},
      {&granite_format(),
       "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": \"n\"}}]", ""},
      {&llama3_format(), "{\"name\": \"weather\", \"parameters\": {\"city\": \"Ulm\", \"days\": 2, \"note\": \"n\"}}",
       ""},
      {&cohere_format(),
       "<|START_ACTION|>[{\"tool_name\": \"weather\", \"parameters\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}]<|END_ACTION|>",
       ""},
      {&apertus_format(),
       "<|tools_prefix|>[{\"weather\": {\"city\": \"Ulm\", \"days\": 2, \"note\": \"n\"}}]<|tools_suffix|>", ""},
      {&apriel_format(),
       "<tool_calls>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}]</tool_calls>",
       ""},
      {&minimax_m1_format(),
       "<tool_calls>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}\n</tool_calls>",
       ""},
      {&minimax_m3_format(),
       "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"weather\">]<]minimax[>[<city>Ulm"
       "]<]minimax[>[</city>]<]minimax[>[<days>2]<]minimax[>[</days>]<]minimax[>[<note>n]<]minimax[>[</note>"
       "]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
       ""},
      {&phi4_format(),
       "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}]<|/tool_call|>",
       ""},
      {&nemotron_format(),
       "<TOOLCALL>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, \"note\": "
       "\"n\"}}]</TOOLCALL>",
       ""},
      {&internlm_format(),
       "<|action_start|><|plugin|>\n{\"name\": \"weather\", \"parameters\": {\"city\": \"Ulm\", \"days\": 2, "
       "\"note\": \"n\"}}<|action_end|>",
       ""},
      {&gigachat_format(),
       "function call<|role_sep|>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2, "
       "\"note\": \"n\"}}",
       ""},
      {&olmo3_format(), "<function_calls>weather(city=\"Ulm\", days=2, note=\"n\")</function_calls>", ""},
      {&pythonic_format(), "<|tool_call_start|>[weather(city=\"Ulm\", days=2, note=\"n\")]<|tool_call_end|>", ""},
      {&gemma4_format(), "<|tool_call>call:weather{city:<|\"|>Ulm<|\"|>,days:2,note:<|\"|>n<|\"|>}<tool_call|>", ""},
      {&function_gemma_format(),
       "<start_function_call>call:weather{city:<escape>Ulm<escape>,days:2,note:<escape>n<escape>}<end_function_call>",
       ""},
  };
  for (const FamilyCall& family : families) {
    SCOPED_TRACE(std::string(family.format->name()));
    ASSERT_NO_THROW(constrain({}, weather(Choice::required), family.format));
    EXPECT_EQ(written(constrain({}, weather(Choice::required), family.format), family.call), ".");
    EXPECT_EQ(written(constrain({}, weather(), family.format), std::string("Well. ") + family.call), ".");
    std::string wrong = family.call;
    wrong.replace(wrong.find("Ulm"), 3, "Rom");
    EXPECT_EQ(written(constrain({}, weather(Choice::required), family.format), wrong).substr(0, 3), "Rom");
    Completion completion(tokenizer_, {}, {}, family.format, weather());
    std::string arguments;
    const auto take = [&](const std::vector<Part>& parts) {
      for (const Part& part : parts) {
        EXPECT_EQ(part.kind, Part::Kind::tool_call) << part.text;
        arguments += part.call.arguments;
      }
    };
    for (const int32_t id : tokenizer_->encode(family.call, false)) take(completion.push(id));
    take(completion.finish());
    EXPECT_EQ(Json::parse(arguments, nullptr, false), Json::parse(R"({"city": "Ulm", "days": 2, "note": "n"})"))
        << arguments;
    EXPECT_EQ(completion.tool_calls(), 1);
  }
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid) << error.what();
    return error.what();
  }
  return "";
}

TEST_F(AnswerGrammarTest, NamesWhatIsWrong) {
  EXPECT_NE(refusal([&] { constrain({Kind::json_schema, R"({"type": "colour"})"}); }).find("colour"),
            std::string::npos);
  EXPECT_NE(refusal([&] { constrain({Kind::json_schema, "{"}); }).find("json_schema"), std::string::npos);
  EXPECT_NE(refusal([&] { constrain({Kind::regex, "("}); }).find("regex"), std::string::npos);
  EXPECT_NE(refusal([&] { constrain({Kind::lark, "start: nowhere"}); }).find("nowhere"), std::string::npos);
  ToolOptions bad = weather();
  bad.tools[0]["function"]["parameters"]["properties"]["city"] = {{"type", "colour"}};
  EXPECT_NE(refusal([&] { constrain({}, bad, &json_tools_format()); }).find("weather"), std::string::npos);
  bad.tools[0] = Json::object();
  EXPECT_NE(refusal([&] { constrain({}, bad, &json_tools_format()); }).find("tools[0]"), std::string::npos);
}

TEST_F(AnswerGrammarTest, HoldsAStrictSchemaInFullOrRefusesIt) {
  ToolOptions tools = weather();
  Json& function = tools.tools[0]["function"];
  function["parameters"]["properties"]["city"] = {
      {"type", "array"}, {"uniqueItems", true}, {"items", {{"type", "string"}}}};
  EXPECT_NE(constrain({}, tools, &json_tools_format()), nullptr);
  function["strict"] = true;
  EXPECT_THROW(constrain({}, tools, &json_tools_format()), Error);
}

TEST_F(AnswerGrammarTest, HoldsArgumentsWhateverStrictSays) {
  const std::string call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"town\": 3}}\n</tool_call>";
  for (const Json& strict : {Json(), Json(true), Json(false)}) {
    ToolOptions tools = weather(Choice::required);
    tools.tools[0]["function"]["strict"] = strict;
    EXPECT_EQ(written(constrain({}, tools, &json_tools_format()), call), "town\": 3}}\n</tool_call>") << strict;
  }
}

TEST_F(AnswerGrammarTest, ClosesObjectsThatNothingOpens) {
  const std::string person = R"("type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}})";
  const auto answer = [&](const std::string& schema, const std::string& text) {
    return written(constrain({Kind::json_schema, schema}), text);
  };
  const std::string closed = "{" + person + "}", open = "{" + person + R"(, "additionalProperties": true})";
  EXPECT_EQ(answer(closed, R"({"a": 1, "b": 2})"), ".");
  EXPECT_EQ(answer(closed, R"({"b": 2})"), ".");
  EXPECT_EQ(answer(closed, "{}"), ".");
  EXPECT_EQ(answer(closed, R"({"b": 2, "a": 1})"), R"(, "a": 1})");  // in the order of the schema
  EXPECT_EQ(answer(closed, R"({"a": 1, "c": 3})"), R"(c": 3})");
  EXPECT_EQ(answer(open, R"({"a": 1, "c": 3})"), ".");
  EXPECT_EQ(answer("{" + person + R"(, "additionalProperties": {"type": "null"}})", R"({"c": null})"), ".");
  EXPECT_EQ(answer(R"({"type": "object"})", R"({"c": 3})"), ".");
  // wherever objects stand
  const std::string defs = R"(, "$defs": {"p": )" + closed + "}}";
  for (const std::string& schema :
       {R"({"type": "object", "properties": {"x": )" + closed + "}}",
        R"({"type": "object", "properties": {"x": {"anyOf": [{"type": "null"}, )" + closed + "]}}}",
        R"({"type": "object", "properties": {"x": {"$ref": "#/$defs/p"}})" + defs,
        R"({"type": "object", "properties": {"x": {"allOf": [{"$ref": "#/$defs/p"}]}})" + defs,
        R"({"type": "object", "additionalProperties": )" + closed + "}"}) {
    EXPECT_EQ(answer(schema, R"({"x": {"a": 1}})"), ".") << schema;
    EXPECT_EQ(answer(schema, R"({"x": {"a": 1, "c": 3}})"), R"(c": 3}})") << schema;
  }
  EXPECT_EQ(answer(R"({"type": "array", "items": )" + closed + "}", R"([{"a": 1}, {"c": 3}])"), R"(c": 3}])");
}

TEST_F(AnswerGrammarTest, ClosesAnObjectOfSeveralSchemasForAllOfThem) {
  const auto answer = [&](const std::string& schema, const std::string& text) {
    return written(constrain({Kind::json_schema, schema}), text);
  };
  const std::string all = R"({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"type": "integer"}}}],
      "$defs": {"a": {"type": "object", "properties": {"a": {"type": "integer"}, "next": {"$ref": "#/$defs/a"}}}}})";
  EXPECT_EQ(answer(all, R"({"a": 1, "b": 2})"), ".");
  EXPECT_EQ(answer(all, R"({"a": 1, "c": 2})"), R"(c": 2})");
  EXPECT_EQ(answer(all, R"({"next": {"a": 1}, "b": 2})"), ".");
  EXPECT_EQ(answer(all, R"({"next": {"b": 1}})"), R"(b": 1}})");
  const std::string beside = R"({"$ref": "#/$defs/a", "required": ["a", "b"], "properties": {"b": {"type": "null"}},
      "$defs": {"a": {"type": "object", "properties": {"a": {"type": "integer"}}}}})";
  EXPECT_EQ(answer(beside, R"({"a": 1, "b": null})"), ".");
  EXPECT_EQ(answer(beside, R"({"a": 1, "b": null, "c": 1})"), R"(, "c": 1})");
  const std::string any = R"({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"],
      "anyOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"$ref": "#/$defs/b"}],
      "$defs": {"b": {"properties": {"b": {"type": "integer"}}, "required": ["b"]}}})";
  EXPECT_EQ(answer(any, R"({"kind": "x", "a": 1})"), ".");
  EXPECT_EQ(answer(any, R"({"kind": "x", "b": 1})"), ".");
  EXPECT_EQ(answer(any, R"({"kind": "x", "a": 1, "b": 1})"), R"(, "b": 1})");
  EXPECT_EQ(answer(any, R"({"kind": "x", "c": 1})"), R"(c": 1})");
  const std::string required = R"({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]})";
  EXPECT_EQ(answer(required, R"({"b": 1})"), ".");
  EXPECT_EQ(answer(R"({"properties": {"a": {"type": "null"}}, "required": ["a"], "unevaluatedProperties": false})",
                   R"({"a": null, "b": 1})"),
            R"(, "b": 1})");
  const std::string many = R"({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
      "minProperties": 2})";
  EXPECT_EQ(answer(many, R"({"a": null, "b": 1})"), ".");
}

TEST_F(AnswerGrammarTest, ClosesArgumentsToo) {
  ToolOptions tools = weather(Choice::required);
  tools.tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object",
      "properties": {"to": {"$ref": "#/$defs/p"}},
      "$defs": {"p": {"type": "object", "properties": {"x": {"type": "integer"}}}}}}}])");
  const auto call = [&](const std::string& arguments) {
    return written(constrain({}, tools, &json_tools_format()),
                   "<tool_call>\n{\"name\": \"f\", \"arguments\": " + arguments + "}\n</tool_call>");
  };
  EXPECT_EQ(call(R"({"to": {"x": 1}})"), ".");
  EXPECT_EQ(call("{}"), ".");
  EXPECT_EQ(call(R"({"type": "integer"})").substr(0, 4), "ype\"");
  EXPECT_EQ(call(R"({"to": {"y": 1}})").substr(0, 2), "y\"");
  tools.tools[0]["function"]["parameters"]["additionalProperties"] = true;
  EXPECT_EQ(call(R"({"type": "integer"})"), ".");
}

TEST_F(AnswerGrammarTest, OneForAnotherAnswerHoldsTheSameAndGoesOnByItself) {
  const std::string call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>";
  for (const Choice choice : {Choice::automatic, Choice::required}) {
    const auto first = constrain({}, weather(choice), &json_tools_format());
    const auto others = {another_constraint(first), another_constraint(first)};
    for (const auto& other : others) EXPECT_EQ(written(other, call), ".");
    EXPECT_EQ(written(first, call), ".");
  }
  EXPECT_EQ(another_constraint(nullptr), nullptr);
}

TEST_F(AnswerGrammarTest, CompilesEqualSchemasOnce) {
  const GrammarCompiler compiler(tokenizer_);
  const AnswerGrammar schema = {Kind::json_schema, R"({"type": "object", "properties": {"z": {"type": "integer"}}})"};
  for (int i = 0; i < 3; ++i) make_constraint(compiler, schema, {}, nullptr, kNoReasoning);
  EXPECT_EQ(compiler.compiled(), 1U);
  for (size_t i = 0; i < 2 * GrammarCompiler::kMaxKept; ++i) compiler.regex("x" + std::to_string(i));
  make_constraint(compiler, schema, {}, nullptr, kNoReasoning);
  EXPECT_EQ(compiler.compiled(), 2 + 2 * GrammarCompiler::kMaxKept);
}

/// Schemas that could take forever; each is refused or compiled within seconds, and so are the tokens that it then
/// allows.
TEST_F(AnswerGrammarTest, IsBoundedForHostileGrammars) {
  const auto repeat = [](const std::string& text, size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += text;
    return out;
  };
  std::string names;
  for (int i = 0; i < 40'000; ++i) names += (i ? ",\"v" : "\"v") + std::to_string(i) + "\"";
  std::string properties, choices;
  for (int i = 0; i < 20'000; ++i)
    properties += (i ? ",\"p" : "\"p") + std::to_string(i) + "\": {\"type\": \"string\"}";
  for (int i = 0; i < 14; ++i) {
    choices += std::string(i ? "," : "") + R"({"oneOf": [{"properties": {"a)" + std::to_string(i) +
               R"(": {"type": "string"}}}, {"properties": {"b)" + std::to_string(i) + R"(": {"type": "integer"}}}]})";
  }
  const AnswerGrammar hostile[] = {
      {Kind::json_schema, R"({"$ref": "#"})"},
      {Kind::json_schema,
       R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})"},
      {Kind::json_schema, R"({"allOf": [{"$ref": "#"}, {"$ref": "#"}]})"},
      {Kind::json_schema, R"({"description": ")" + std::string(10 << 20, 'x') + "\"}"},
      {Kind::json_schema, R"({"enum": [)" + names + "]}"},
      {Kind::json_schema, R"({"type": "object", "properties": {)" + properties + "}}"},
      {Kind::json_schema, R"({"type": "object", "allOf": [)" + choices + "]}"},
      {Kind::json_schema, repeat(R"({"items": )", 100'000) + "1" + repeat("}", 100'000)},
      {Kind::json_schema, repeat(R"({"type": "array", "items": )", 60) + "{}" + repeat("}", 60)},
      {Kind::json_schema, R"({"type": "string", "maxLength": 1000000000})"},
      {Kind::json_schema, R"({"type": "string", "minLength": 1000000000})"},
      {Kind::json_schema, R"({"type": "array", "minItems": 1000000000})"},
      {Kind::json_schema, R"({"type": "string", "pattern": "^(a|aa)+(b|bb)+([a-z]{0,500}x){200}$"})"},
      {Kind::json_schema, R"({"type": "integer", "multipleOf": 982451653, "minimum": 3})"},
      {Kind::regex, "(((a{0,100}){0,100}){0,100}){0,100}"},
      {Kind::regex, "(x+x+)+y"},
      {Kind::regex, ".*a.{500}b.*c.{500}"},
      {Kind::regex, repeat("(", 5'000) + "a" + repeat(")", 5'000)},
      {Kind::lark, "start: a*\na: b*\nb: start | \"x\""},
      {Kind::lark, "start: start start | \"a\" | \"\""},
      {Kind::lark, "start: " + repeat("(", 20'000) + "\"a\"" + repeat(")", 20'000)},
  };
  for (const AnswerGrammar& grammar : hostile) {
    SCOPED_TRACE(grammar.source.substr(0, 80));
    const std::clock_t begun = std::clock();
    const std::string why = refusal([&] {
      const auto constraint = constrain(grammar);
      std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_->vocab_size() + 31) / 32);
      for (int i = 0; i < 5; ++i) {
        constraint->allowed(mask);
        int32_t id = 0;
        while (id < tokenizer_->vocab_size() && !(mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1)) ++id;
        if (!constraint->accept(id)) break;
      }
    });
    const double seconds = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 10);  // of the processor: far above the real time, far below forever
    if (std::getenv("MLXK_SHOW"))
      printf("%6.2f s  %s  %s\n", seconds, grammar.source.substr(0, 60).c_str(), why.substr(0, 90).c_str());
  }
}

}  // namespace
}  // namespace mlxk
