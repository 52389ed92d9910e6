#include "chat/tool_calls.h"

#include <gtest/gtest.h>

#include <random>

#include "chat/tools/tool_formats.h"

namespace mlxk {
namespace {

ToolOptions tools(bool parallel = true) {
  ToolOptions options;
  options.tools = Json::parse(R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
      "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}])");
  options.parallel = parallel;
  return options;
}

/// "text|name{arguments}|text": parts of one kind joined, arguments checked to be JSON.
std::string show(const std::vector<Part>& parts) {
  std::string out, arguments;
  bool text = false;
  int index = -1;
  const auto end_call = [&] {
    EXPECT_TRUE(arguments.empty() || Json::accept(arguments)) << arguments;
    out += arguments;
    arguments.clear();
  };
  for (const Part& part : parts) {
    if (part.kind != Part::Kind::tool_call) {
      end_call();
      if (!text) out += "|T:";
      out += part.text;
      text = true;
      continue;
    }
    text = false;
    if (!part.call.name.empty()) {
      end_call();
      EXPECT_EQ(part.call.index, index + 1);
      index = part.call.index;
      out += "|C:" + part.call.name;
    }
    EXPECT_EQ(part.call.index, index);
    arguments += part.call.arguments;
  }
  end_call();
  return out;
}

std::string split(const ToolFormat& format, const std::string& text, const ToolOptions& options = tools()) {
  const auto cut = [&](const auto& next) {
    ToolCallSplitter splitter(&format, options);
    std::vector<Part> all;
    const auto add = [&](std::vector<Part> parts) { all.insert(all.end(), parts.begin(), parts.end()); };
    for (size_t at = 0; at < text.size();) {
      const size_t length = next();
      add(splitter.push(text.substr(at, length)));
      at += length;
    }
    add(splitter.finish());
    return show(all);
  };
  const std::string whole = cut([&] { return text.size(); });
  EXPECT_EQ(cut([] { return 1; }), whole) << "character by character";
  for (size_t first = 1; first < text.size(); ++first) {  // two pieces
    size_t round = 0;
    EXPECT_EQ(cut([&] { return round++ == 0 ? first : text.size(); }), whole) << "cut at " << first;
  }
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    EXPECT_EQ(cut([&] { return 1 + random() % 7; }), whole) << "another cut gives another result";
  }
  return whole;
}

TEST(ToolCallSplitter, ReadsJsonCalls) {
  const ToolFormat& format = json_tools_format();
  EXPECT_EQ(split(format, "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>"),
            R"(|T:Let me see.|C:weather{"city": "Ulm"})");
  EXPECT_EQ(split(format, "<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>\n<tool_call>{\"arguments\":{\"x\":[1,2]},"
                          "\"name\":\"b\"}</tool_call>\n"),
            R"(|C:a{}|C:b{"x":[1,2]})");
  EXPECT_EQ(split(format, R"(<tool_call>{"name": "a"}</tool_call> done )"), R"(|C:a{}|T:done )");
  EXPECT_EQ(split(format, R"(<tool_call>{"name": "a", "arguments": "{\"x\": 1}"}</tool_call>)"), R"(|C:a{"x": 1})");
}

TEST(ToolCallSplitter, GivesMarkupThatIsNoCallBackAsText) {
  const ToolFormat& format = json_tools_format();
  for (const char* text : {"<tool_call>", "<tool_call>call me</tool_call>", "<tool_call>{}</tool_call>", "a <tool_call>[1]",
                           "<tool_call>{\"name\": 1}</tool_call>", "</tool_call>", "a\n<tool_call>\n\n{\"nam", " \n"}) {
    EXPECT_EQ(split(format, text), std::string("|T:") + text);
  }
}

TEST(ToolCallSplitter, ClosesArgumentsThatBreakOff) {
  const ToolFormat& format = json_tools_format();
  const std::string head = R"(<tool_call>{"name": "a", "arguments": )";
  EXPECT_EQ(split(format, head + R"({"x": "so f)"), R"(|C:a{"x": "so f"})");
  EXPECT_EQ(split(format, head + R"({"x": [1, {"y)"), R"(|C:a{"x": [1, {}]})");
  EXPECT_EQ(split(format, head + R"({"x": tr)"), R"(|C:a{})");
  EXPECT_EQ(split(format, head + R"({"x": 1, )"), R"(|C:a{"x": 1})");
  EXPECT_EQ(split(format, head + R"({"x": "\ud83d)"), R"(|C:a{"x": "\ufffd"})");
  EXPECT_EQ(split(format, head + R"({"x": 1} garbage)"), R"(|C:a{"x": 1}|T:garbage)");
}

TEST(ToolCallSplitter, TakesOneCallWhereNoMoreAreAllowed) {
  const std::string call = R"(<tool_call>{"name": "a", "arguments": {}}</tool_call>)";
  EXPECT_EQ(split(json_tools_format(), "x" + call + call, tools(false)), "|T:x|C:a{}");
}

TEST(ToolCallSplitter, LeavesTextAloneWithoutTools) {
  const std::string call = R"(<tool_call>{"name": "a", "arguments": {}}</tool_call> )";
  ToolOptions none = tools();
  none.choice = ToolOptions::Choice::none;
  EXPECT_EQ(split(json_tools_format(), call, none), "|T:" + call);
}

}  // namespace
}  // namespace mlxk
