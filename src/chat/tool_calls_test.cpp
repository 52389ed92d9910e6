#include "chat/tool_calls.h"

#include <gtest/gtest.h>

#include "chat/testing/split_calls.h"
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

std::string split(const ToolFormat& format, const std::string& text, const ToolOptions& options = tools()) {
  return testing::split_calls(format, text, options);
}

TEST(ToolCallSplitter, ReadsJsonCalls) {
  const ToolFormat& format = json_tools_format();
  EXPECT_EQ(
      split(format,
            "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>"),
      R"(|T:Let me see.|C:weather{"city": "Ulm"})");
  EXPECT_EQ(split(format,
                  "<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>\n<tool_call>{\"arguments\":{\"x\":[1,2]},"
                  "\"name\":\"b\"}</tool_call>\n"),
            R"(|C:a{}|C:b{"x":[1,2]})");
  EXPECT_EQ(split(format, R"(<tool_call>{"name": "a"}</tool_call> done )"), R"(|C:a{}|T:done )");
  EXPECT_EQ(split(format, R"(<tool_call>{"name": "a", "arguments": "{\"x\": 1}"}</tool_call>)"), R"(|C:a{"x": 1})");
}

TEST(ToolCallSplitter, GivesMarkupThatIsNoCallBackAsText) {
  const ToolFormat& format = json_tools_format();
  for (const char* text :
       {"<tool_call>", "<tool_call>call me</tool_call>", "<tool_call>{}</tool_call>", "a <tool_call>[1]",
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
