#include "tokenizer/chat_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/testing/test_paths.h"

namespace mlxk {
namespace {

const fs::path kData = fs::path(test_tree::kTestData) / "templates";

uint64_t fnv1a(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return value;
}

std::string render(const std::string& source, const Json& messages, const RenderOptions& options = {}) {
  return ChatTemplate::compile(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}})->render(messages, options);
}

const Json kHi = Json::parse(R"([{"role": "user", "content": "hi"}])");

/// The kind and the text of the error that `body` throws.
template <typename Body>
std::string thrown(Body body, ErrorKind kind) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

// Cases that we render and transformers refuses: each raises a TypeError on iterating or printing something absent.
bool more_lenient(const std::string& name, const std::string& kind) {
  static const std::set<std::string> kTemplates = {"CohereForAI-c4ai-command-r-plus-tool_use",
                                                   "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
                                                   "NousResearch-Hermes-3-Llama-3.1-8B-tool_use"};
  return kind == "TypeError" && kTemplates.count(name);
}

TEST(ChatTemplate, renders_47_real_templates_as_transformers_does) {
  const Json shapes = read_json(kData / "shapes.json");
  std::map<std::string, std::string> full;  // of a recording with --full, to see a difference
  if (const char* path = std::getenv("MLXK_TEST_TEMPLATES")) {
    std::ifstream lines(path);
    for (std::string line; std::getline(lines, line);) {
      const Json row = Json::parse(line);
      full[row["template"].get<std::string>() + "/" + row["shape"].get<std::string>()] =
          row.value("text", row.value("message", ""));
    }
  }
  std::ifstream expected(kData / "expected.tsv");
  int texts = 0, errors = 0;
  std::string compiled_name;
  std::shared_ptr<const ChatTemplate> compiled;
  for (std::string line; std::getline(expected, line);) {
    std::istringstream row(line);
    std::string name, shape, outcome, size, rest;
    row >> name >> shape >> outcome >> size;
    std::getline(row >> std::ws, rest);
    SCOPED_TRACE(name + "/" + shape);
    if (compiled_name != name) {
      compiled = ChatTemplate::compile(read_file(kData / (name + ".jinja")), shapes["special_tokens"]);
      compiled_name = name;
    }
    RenderOptions options;
    options.now = shapes["now"].get<int64_t>();
    Json messages;
    for (const auto& [key, value] : shapes["shapes"][shape].items()) {
      if (key == "messages")
        messages = value;
      else if (key == "tools")
        options.tools = value;
      else if (key == "documents")
        options.documents = value;
      else if (key == "add_generation_prompt")
        options.add_generation_prompt = value.get<bool>();
      else
        options.kwargs[key] = value;
    }
    std::string text, error;
    try {
      text = compiled->render(messages, options);
    } catch (const Error& e) {
      error = e.what();
      EXPECT_EQ(e.kind(), ErrorKind::invalid) << error;
    }
    if (outcome == "text") {
      ++texts;
      EXPECT_EQ(error, "");
      EXPECT_EQ(fmt::format("{} {:016x}", text.size(), fnv1a(text)), size + " " + rest) << text;
      if (full.count(name + "/" + shape)) {
        EXPECT_EQ(text, full[name + "/" + shape]);
      }
    } else if (!more_lenient(name, size)) {
      ++errors;
      EXPECT_NE(error, "") << "expected " << size << " " << rest << "\n" << text;
      if (size == "TemplateError") {
        EXPECT_EQ(error, Json::parse(rest).get<std::string>());
      }
    }
  }
  EXPECT_EQ(texts, 553);
  EXPECT_GE(errors, 60);
}

TEST(ChatTemplate, refuses_empty_messages_before_rendering) {
  const auto text = thrown([] { render("{{ messages[::-1] }}", Json::array()); }, ErrorKind::invalid);
  EXPECT_NE(text.find("at least one message"), std::string::npos);
}

TEST(ChatTemplate, gives_the_templates_own_message) {
  EXPECT_EQ(thrown([] { render("{{ raise_exception('Roles must alternate') }}", kHi); }, ErrorKind::invalid),
            "Roles must alternate");
}

TEST(ChatTemplate, names_the_line_that_does_not_compile) {
  const auto text = thrown([] { render("a\nb\n{% if %}", kHi); }, ErrorKind::bad_model);
  EXPECT_NE(text.find("line 3"), std::string::npos) << text;
}

TEST(ChatTemplate, prints_as_python_does) {
  EXPECT_EQ(render("{{ [1, 2.0, none, true, 'a\\'b', {'k': 1e20}] }}", kHi),
            R"([1, 2.0, None, True, "a'b", {'k': 1e+20}])");
  EXPECT_EQ(render("{{ {'a': [1, '<é>'], 'b': {}} | tojson(indent=2) }}", kHi),
            "{\n  \"a\": [\n    1,\n    \"<é>\"\n  ],\n  \"b\": {}\n}");
  EXPECT_EQ(render("{{ ['é'] | tojson(ensure_ascii=true, separators=[',', ':']) }}", kHi), "[\"\\u00e9\"]");
  EXPECT_EQ(render("{{ 'a.b.c'.rpartition('.') }}{{ 'a b c'.rsplit(' ', 1) }}{{ 'abc'.removeprefix('a') }}", kHi),
            "('a.b', '.', 'c')['a b', 'c']bc");
  EXPECT_EQ(render("{% generation %}x{% endgeneration %}{{ '7'.zfill(3) }}\r\n", kHi), "x007");
}

TEST(ChatTemplate, shows_the_given_time) {
  RenderOptions options;
  options.now = 1760000000;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y %H:%M') }}", kHi, options), "09 Oct 2025 08:53");
}

TEST(ChatTemplate, passes_reasoning_under_every_name) {
  const Json messages = Json::parse(R"([{"role": "assistant", "content": "4", "reasoning": "2+2"}])");
  EXPECT_EQ(render("{{ messages[0].reasoning_content }} {{ messages[0].thinking }}", messages), "2+2 2+2");
}

TEST(ChatTemplate, stops_hostile_templates) {
  for (const char* source : {
           "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
           "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
           "{% include '/etc/passwd' %}",
           "{% import '/etc/passwd' as x %}",
           "{% extends 'chat' %}",
           "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
           "{% set ns = namespace(x='x') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
           "{% set ns = namespace(x=[]) %}{% for a in range(99) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}"
           "{% endfor %}{% endfor %}",
           "{{ '%9999999999d' | format(1) }}",
           "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
           "{{ messages.__class__.__mro__ }}",
           "{{ messages[::-1][99].content.x }}",
           "{{ [][::-1] }}",
       }) {
    SCOPED_TRACE(source);
    EXPECT_NE(thrown([&] { render(source, kHi); }, ErrorKind::invalid), "");
  }
}

class TemplateFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("mlxk_template_{}", ::getpid());
    fs::create_directories(folder_ / "additional_chat_templates");
    tokenizer_ = Tokenizer::from_json(R"({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}})",
                                      {{"bos_token", "<s>"}}, "test");
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::string rendered(const RenderOptions& options = {}) {
    return ChatTemplate::load(folder_, *tokenizer_)->render(kHi, options);
  }
  fs::path folder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(TemplateFolder, is_null_without_a_template) {
  EXPECT_EQ(ChatTemplate::load(folder_, *tokenizer_), nullptr);
  write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_EQ(ChatTemplate::load(folder_, *tokenizer_), nullptr);
}

TEST_F(TemplateFolder, takes_the_places_in_transformers_order) {
  write("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(rendered(), "json");
  write("tokenizer_config.json", R"({"chat_template": "config {{ bos_token }}"})");
  EXPECT_EQ(rendered(), "config <s>");
  write("chat_template.jinja", "jinja");
  EXPECT_EQ(rendered(), "jinja");
}

TEST_F(TemplateFolder, chooses_among_named_templates) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "d"},
      {"name": "tool_use", "template": "t{{ tools|length }}"}, {"name": "rag", "template": "r"}]})");
  EXPECT_EQ(rendered(), "d");
  RenderOptions with_tools, with_documents;
  with_tools.tools = Json::array({1, 2});
  with_documents.documents = Json::array({1});
  EXPECT_EQ(rendered(with_tools), "t2");
  EXPECT_EQ(rendered(with_documents), "r");
  write("chat_template.jinja", "jinja");
  write("additional_chat_templates/tool_use.jinja", "more");
  EXPECT_EQ(rendered(), "jinja");
  EXPECT_EQ(rendered(with_tools), "more");
  RenderOptions described;
  described.tools_in_messages = true;
  EXPECT_EQ(rendered(described), "more");
}

TEST_F(TemplateFolder, refuses_a_template_of_the_wrong_type) {
  write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_NE(thrown([&] { rendered(); }, ErrorKind::bad_model).find("tokenizer_config.json"), std::string::npos);
}

}  // namespace
}  // namespace mlxk
