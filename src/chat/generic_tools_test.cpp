#include "chat/generic_tools.h"

#include <gtest/gtest.h>

#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {
namespace {

constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
/// Gemma 2: no system role, alternating turns.
constexpr const char* kAlternating =
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";

const Json kTools = Json::parse(R"([{"type": "function", "function": {"name": "add", "strict": false,
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}])");

/// A question, two calls with text, their results, and another question.
const Json kConversation = Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Add."},
    {"role": "assistant", "content": "Adding.", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}},
        {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 2}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "\"one\""},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}]},
    {"role": "user", "content": "And now?"}])");

Json written(Json messages, const Json& tools, bool system_message) {
  RenderOptions options;
  options.tools = tools;
  write_generic_tools(messages, options, system_message);
  EXPECT_TRUE(options.tools.is_null());
  return messages;
}

TEST(GenericTools, AreDescribedInTheSystemMessage) {
  const Json with_own = written(kConversation, kTools, true);
  ASSERT_EQ(with_own.size(), 4U);
  const std::string system = with_own[0]["content"];
  EXPECT_EQ(system.rfind("Be brief.\n\n# Tools\n", 0), 0U) << system;
  EXPECT_NE(system.find(R"({"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}})"),
            std::string::npos)
      << system;
  const Json alone = written(Json::parse(R"([{"role": "user", "content": "Hi"}])"), kTools, true);
  ASSERT_EQ(alone.size(), 2U);
  EXPECT_EQ(alone[0]["role"], "system");
  EXPECT_EQ(alone[0]["content"].get<std::string>().rfind("You are a helpful assistant.\n\n# Tools\n", 0), 0U);
  EXPECT_EQ(alone[1]["content"], "Hi");
  const Json none = written(Json::parse(R"([{"role": "user", "content": "Hi"}])"), nullptr, true);
  EXPECT_EQ(none.size(), 1U);
}

TEST(GenericTools, AreDescribedInTheFirstUserTurnWhereThereIsNoSystemRole) {
  const Json messages = written(kConversation, kTools, false);
  ASSERT_EQ(messages.size(), 3U);
  const std::string user = messages[0]["content"];
  EXPECT_EQ(messages[0]["role"], "user");
  EXPECT_EQ(user.rfind("Be brief.\n\n# Tools\n", 0), 0U) << user;
  EXPECT_EQ(user.substr(user.size() - 6), "\n\nAdd.");
  const Json parts =
      written(Json::parse(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])"),
              kTools, false);
  EXPECT_EQ(parts[0]["content"][0]["type"], "text");
  EXPECT_EQ(parts[0]["content"][1]["type"], "image_url");
}

TEST(GenericTools, ShowCallsAndResultsInTheirOwnForm) {
  const Json messages = written(kConversation, nullptr, true);
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[2]["content"],
            "Adding.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\":1}}\n</tool_call>\n"
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 2}}\n</tool_call>");
  EXPECT_FALSE(messages[2].contains("tool_calls"));
  EXPECT_EQ(messages[3]["role"], "user");
  EXPECT_EQ(messages[3]["content"],
            "<tool_response>\n{\"name\":\"add\",\"content\":\"\\\"one\\\"\"}\n</tool_response>\n"
            "<tool_response>\n{\"name\":\"add\",\"content\":\"2\"}\n</tool_response>\n\nAnd now?");
}

TEST(GenericTools, GoThroughTemplatesWhoseTurnsAlternate) {
  const auto chat_ml = ChatTemplate::compile(kChatMl, Json::object());
  const auto alternating = ChatTemplate::compile(kAlternating, Json::object());
  EXPECT_TRUE(takes_system_message(*chat_ml));
  EXPECT_FALSE(takes_system_message(*alternating));
  EXPECT_FALSE(takes_system_message(*ChatTemplate::compile("{{ messages[-1].content }}", Json::object())));
  EXPECT_NO_THROW(alternating->render(written(kConversation, kTools, false), {}));
}

TEST(GenericTools, LeaveWhatTheyDoNotExpect) {
  for (const char* text : {R"([1, null, {"role": 5}, {"content": "x"}])", "[{\"role\": \"user\"}]", "[]"}) {
    EXPECT_EQ(written(Json::parse(text), nullptr, true), Json::parse(text));
  }
  const Json odd = Json::parse(R"([{"role": "assistant", "tool_calls": [1, {"function": {"name": "f"}}]},
      {"role": "tool", "content": null}, {"role": "tool"}])");
  EXPECT_EQ(written(odd, nullptr, true).size(), 2U);
}

}  // namespace
}  // namespace mlxk
