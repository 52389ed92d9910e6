#include "chat/tools/tool_formats.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/testing/test_paths.h"
#include "chat/testing/small_tokenizer.h"
#include "chat/testing/split_calls.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;
const fs::path kData = test_tree::kTestData;

const ToolFormat& format_named(std::string_view name) {
#define MLXK_TOOL_FORMAT(family) \
  if (name == #family) return family##_format();
#include "chat/tools/tool_formats.inc"
#undef MLXK_TOOL_FORMAT
  ADD_FAILURE() << "no format " << name;
  return json_tools_format();
}

ToolOptions weather_tools() {
  ToolOptions options;
  options.tools = read_json(kData / "chat/tool_calls.json")["tools"];
  return options;
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(ToolFormats, ReadWhatMlxLmReads) {
  const Json goldens = read_json(kData / "chat/tool_calls.json");
  const ToolOptions options = weather_tools();
  for (const Json& golden : goldens["cases"]) {
    const std::string text = golden["text"];
    SCOPED_TRACE(golden["format"].get<std::string>() + ": " + text);
    const ToolFormat& format = format_named(golden["format"].get<std::string>());
    testing::split_calls(format, text, options);  // any split gives the same result
    ToolCallSplitter splitter(&format, options);
    std::vector<Part> parts = splitter.push(text);
    for (Part& part : splitter.finish()) parts.push_back(std::move(part));
    std::vector<std::pair<std::string, std::string>> calls;
    for (const Part& part : parts) {
      if (part.kind != Part::Kind::tool_call) continue;
      if (!part.call.name.empty()) calls.emplace_back(part.call.name, "");
      calls.back().second += part.call.arguments;
    }
    ASSERT_EQ(calls.size(), golden["calls"].size());
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(calls[i].first, golden["calls"][i]["name"]);
      // unordered: the order of keys is the model's
      EXPECT_EQ(nlohmann::json::parse(calls[i].second), nlohmann::json::parse(golden["calls"][i]["arguments"].dump()));
    }
  }
}

TEST(ToolFormats, AreChosenAsMlxLmChooses) {
  const auto tokenizer = testing::small_tokenizer({"a"}, {});
  const std::map<std::string, std::string> beyond = {{"ByteDance-Seed-OSS.jinja", "qwen3_coder"},
                                                     {"Apertus-8B-Instruct.jinja", "apertus"},
                                                     {"Apriel-1.6-15b-Thinker-fixed.jinja", "apriel"},
                                                     {"unsloth-Apriel-1.5.jinja", "apriel"},
                                                     {"MiniMax-M1.jinja", "minimax_m1"},
                                                     {"GigaChat3-10B-A1.8B.jinja", "gigachat"},
                                                     {"Reka-Edge.jinja", "json_tools"},
                                                     {"CohereForAI-c4ai-command-r-plus-tool_use.jinja", "cohere"},
                                                     {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "deepseek"},
                                                     {"deepseek-ai-DeepSeek-V3.1.jinja", "deepseek"},
                                                     {"deepseek-ai-DeepSeek-V4.jinja", "deepseek_dsml"},
                                                     {"ibm-granite-granite-3.3-2B-Instruct.jinja", "granite"},
                                                     {"meta-llama-Llama-3.2-3B-Instruct.jinja", "llama3"},
                                                     {"meta-llama-Llama-3.3-70B-Instruct.jinja", "llama3"},
                                                     {"openai-gpt-oss-120b.jinja", "harmony"}};
  const Json goldens = read_json(kData / "chat/tool_calls.json");
  for (const auto& [name, chosen] : goldens["templates"].items()) {
    const ToolFormat* format = detect_tool_format(read(kData / "templates" / name), *tokenizer);
    const auto more = beyond.find(name);
    // mlx-lm reads MiniMax M3's calls, which are elements, as JSON.
    const std::string expected = name == "MiniMax-M3.jinja" ? "minimax_m3"
                                 : chosen.is_string()       ? chosen.get<std::string>()
                                 : more != beyond.end()     ? more->second
                                                            : "";
    EXPECT_EQ(format ? format->name() : "", expected) << name;
  }
}

TEST(ToolFormats, AreKnownFromTheVocabularyWhereTheTemplateSaysNothing) {
  const auto chosen = [](const std::vector<std::string>& tokens) {
    const ToolFormat* format = detect_tool_format("{{ messages }}", *testing::small_tokenizer(tokens, tokens));
    return std::string(format ? format->name() : "");
  };
  EXPECT_EQ(chosen({"<|tool_call_start|>", "<|tool_call_end|>"}), "pythonic");
  EXPECT_EQ(chosen({"<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"}), "kimi_k3");
  EXPECT_EQ(chosen({"<|channel|>", "<|message|>", "<|call|>"}), "harmony");
  EXPECT_EQ(chosen({"<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"}), "deepseek");
  EXPECT_EQ(chosen({"<|action_start|>", "<|plugin|>"}), "internlm");
  EXPECT_EQ(chosen({"<|tool_call|>", "<|/tool_call|>"}), "phi4");
  EXPECT_EQ(chosen({"<|im_end|>"}), "");
}

struct Sample {
  const char *format, *text, *shown;
};

TEST(ToolFormats, ReadTheFamiliesThatMlxLmDoesNot) {
  const ToolOptions options = weather_tools();
  const Sample samples[] = {
      {"llama3", R"({"name": "weather", "parameters": {"city": "Ulm"}})", R"(|C:weather{"city": "Ulm"})"},
      {"llama3", R"(<|python_tag|>{"name": "now", "parameters": {}}; {"name": "weather", "parameters": {"days": 1}})",
       R"(|C:now{}|C:weather{"days": 1})"},
      {"llama3", R"({"name": "Ulm", "parameters": {}})", R"(|T:{"name": "Ulm", "parameters": {}})"},
      {"llama3", R"( {"a": 1})", R"(|T: {"a": 1})"},
      {"llama3", R"(See {"name": "now", "parameters": {}})", R"(|T:See {"name": "now", "parameters": {}})"},
      {"deepseek",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"days\": "
       "1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>"
       "now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       R"(|C:weather{"days": 1}|C:now{})"},
      {"deepseek",
       "So.\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"days\": 1}\n```"
       "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       R"(|T:So.|C:weather{"days": 1})"},
      {"deepseek_dsml",
       "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">"
       " 5\n</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">5</｜DSML｜parameter>\n"
       "</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
       R"(|C:weather{"city": " 5\n", "days": 5})"},
      {"cohere",
       "<|START_ACTION|>[\n {\"tool_call_id\": \"0\", \"tool_name\": \"weather\", \"parameters\": {\"days\": 1}}\n]"
       "<|END_ACTION|>",
       R"(|C:weather{"days": 1})"},
      {"cohere", "Action:\n```json\n[{\"tool_name\": \"now\", \"parameters\": {}}]```\n", "|C:now{}"},
      {"cohere", "Action: none", "|T:Action: none"},
      {"granite", R"(<|tool_call|>[{"name": "weather", "arguments": {"city": "Ulm"}}])",
       R"(|C:weather{"city": "Ulm"})"},
      {"mistral", R"([TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{"days": 1})", R"(|C:weather{"days": 1})"},
      {"apertus", R"(So.<|tools_prefix|>[{"weather": {"city": "Ulm"}}, {"now": {}}]<|tools_suffix|>)",
       R"(|T:So.|C:weather{"city":"Ulm"}|C:now{})"},
      {"apertus", R"(<|tools_prefix|>[{"now": {}}])", "|C:now{}"},
      {"apriel",
       "let me\n<tool_calls>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}, \"id\": \"1\"}, {\"name\": "
       "\"now\", \"arguments\": {}, \"id\": \"2\"}]</tool_calls>",
       R"(|T:let me|C:weather{"city": "Ulm"}|C:now{})"},
      {"minimax_m1",
       "<tool_calls>\n{\"name\": \"weather\", \"arguments\": {\"days\": 1}}\n{\"name\": \"now\", \"arguments\": {}}\n"
       "</tool_calls>",
       R"(|C:weather{"days": 1}|C:now{})"},
      {"minimax_m3",
       "let me]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"weather\">]<]minimax[>[<city>5"
       "]<]minimax[>[</city>]<]minimax[>[<days>2]<]minimax[>[</days>]<]minimax[>[<l>]<]minimax[>[<item>1"
       "]<]minimax[>[</item>]<]minimax[>[<item>a]<]minimax[>[</item>]<]minimax[>[</l>]<]minimax[>[<o>"
       "]<]minimax[>[<k>true]<]minimax[>[</k>]<]minimax[>[</o>]<]minimax[>[</invoke>\n]<]minimax[>[<invoke "
       "name=\"now\">]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
       R"(|T:let me|C:weather{"city":"5","days":2,"l":[1,"a"],"o":{"k":true}}|C:now{})"},
      {"phi4", R"(<|tool_call|>[{"name": "weather", "arguments": {"city": "Ulm"}}]<|/tool_call|>)",
       R"(|C:weather{"city": "Ulm"})"},
      {"phi4", R"(functools[{"name": "now", "arguments": {}}])", "|C:now{}"},
      {"nemotron",
       R"(So.<TOOLCALL>[{"name": "now", "arguments": {}}, {"name": "weather", "arguments": {"days": 1}}])"
       "</TOOLCALL>",
       R"(|T:So.|C:now{}|C:weather{"days": 1})"},
      {"internlm",
       "So.<|action_start|><|plugin|>\n{\"name\": \"weather\", \"parameters\": {\"days\": 1}}<|action_end|>",
       R"(|T:So.|C:weather{"days": 1})"},
      {"gigachat", "function call<|role_sep|>\n{\"name\": \"weather\", \"arguments\": {\"days\": 1}}",
       R"(|C:weather{"days": 1})"},
      {"olmo3", "So.<function_calls>weather(city=\"Ulm\", metric=True)\nnow()</function_calls>",
       R"(|T:So.|C:weather{"city":"Ulm","metric":true}|C:now{})"},
      {"pythonic", "<|tool_call_start|>\n```python\nweather(city=\"Ulm\")\nnow()\n```\n<|tool_call_end|>",
       R"(|C:weather{"city":"Ulm"}|C:now{})"},
      {"qwen3_coder", "<seed:tool_call>\n<function=now>\n</function>\n</seed:tool_call>", "|C:now{}"},
  };
  for (const Sample& sample : samples) {
    EXPECT_EQ(testing::split_calls(format_named(sample.format), sample.text, options), sample.shown) << sample.format;
  }
}

TEST(ToolFormats, PassTextParametersOnAsTheyCome) {
  const ToolFormat& format = qwen3_coder_format();
  ToolCallSplitter splitter(&format, weather_tools());
  splitter.push("<tool_call>\n<function=write_file>\n<parameter=content>\n");
  const auto parts = splitter.push("one\n\"two\" </par");
  ASSERT_EQ(parts.size(), 1U);
  EXPECT_EQ(parts[0].call.arguments, R"(one\n\"two\" )");
  std::string rest;
  for (const Part& part : splitter.finish()) rest += part.call.arguments;
  EXPECT_EQ(rest, "\"}");
}

TEST(ToolFormats, GiveWhatIsNoCallBackAsText) {
  const ToolOptions options = weather_tools();
  const Sample samples[] = {
      {"qwen3_coder", "<tool_call>\n<function>x</function></tool_call>", nullptr},
      {"minimax_m2", "<minimax:tool_call>\n<invoke name=\"", nullptr},
      {"glm47", "<tool_call>two words<arg_key>a</arg_key>", nullptr},
      {"kimi_k2", "<|tool_calls_section_begin|>hello", nullptr},
      {"kimi_k2", "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0 {}", nullptr},
      {"mistral", "[TOOL_CALLS] none today", nullptr},
      {"pythonic", "<|tool_call_start|>[now(]<|tool_call_end|>", nullptr},
      {"pythonic", "<|tool_call_start|>[now(1)]", nullptr},
      {"gemma4", "<|tool_call>call:weather{city:<|\"|>Ulm}<tool_call|>", nullptr},
      {"function_gemma", "<start_function_call>call:now<end_function_call>", nullptr},
      {"deepseek", "<｜tool▁calls▁begin｜>{}", nullptr},
      {"muse_spark", "<atem:function_calls></atem:function_calls>", nullptr},
      {"longcat", "<longcat_tool_call>", nullptr},
      {"kimi_k3", "<|open|>tools<|sep|><|open|>call index=\"1\"<|sep|>", nullptr},
      {"minicpm5", "<function name=\"two words\"></function>", nullptr},
      {"apertus", "<|tools_prefix|>[{\"now\": 1}]<|tools_suffix|>", nullptr},
      {"apertus", "<|tools_prefix|>{\"now\": {}}<|tools_suffix|>", nullptr},
      {"apriel", "<tool_calls>none</tool_calls>", nullptr},
      {"phi4", "functools is a module", nullptr},
      {"olmo3", "<function_calls>now</function_calls>", nullptr},
      {"nemotron", "<TOOLCALL>none</TOOLCALL>", nullptr},
      {"minimax_m3", "]<]minimax[>[<tool_call>]<]minimax[>[</tool_call>", nullptr},
      {"minimax_m3", "]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"now\">text]<]minimax[>[</invoke>", nullptr},
  };
  for (const Sample& sample : samples) {
    EXPECT_EQ(testing::split_calls(format_named(sample.format), sample.text, options),
              std::string("|T:") + sample.text);
  }
}

TEST(ToolFormats, NestingIsBounded) {
  const ToolOptions options = weather_tools();
  const std::string deep(100'000, '['), braces = "call:now{a:" + std::string(100'000, '{');
  std::string elements;
  for (int i = 0; i < 10'000; ++i) elements += "]<]minimax[>[<a>";
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"pythonic", "<|tool_call_start|>[now(a=" + deep},
           {"gemma4", "<|tool_call>" + braces},
           {"apertus", "<|tools_prefix|>" + deep + "<|tools_suffix|>"},
           {"minimax_m3", "]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"now\">" + elements},
           {"json_tools", "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": " + deep},
           {"glm47", "<tool_call>now<arg_key>a</arg_key><arg_value>" + deep + "</arg_value></tool_call>"}}) {
    ToolCallSplitter splitter(&format_named(name), options);
    std::vector<Part> parts = splitter.push(text);
    for (Part& part : splitter.finish()) parts.push_back(std::move(part));
    testing::show_calls(parts);  // arguments are JSON
    EXPECT_FALSE(parts.empty()) << name;
  }
}

}  // namespace
}  // namespace mlxk
