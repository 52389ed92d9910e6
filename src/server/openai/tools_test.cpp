// Tools of models whose chat template knows none.
#include "server/testing/test_server.h"

namespace mlxk {
namespace {

using testing::assemble;
using testing::TestServer;
using testing::user;

const Json kTools = Json::parse(R"([{"type":"function","function":{"name":"weather","parameters":
    {"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}}},
    {"type":"function","function":{"name":"now"}}])");
constexpr const char* kCall = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>";
constexpr const char* kNow = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";

class GenericToolsTest : public ::testing::Test {
 protected:
  GenericToolsTest() {
    testing::write_tiny_model(models_.home() / "workspaces/plain", 4096, testing::tiny::kPlainTemplate);
    testing::write_tiny_model(models_.home() / "workspaces/base", 4096, nullptr);
  }

  static Json asked(const Json& messages, Json more = Json::object()) {
    more["model"] = "plain";
    more["messages"] = messages;
    more["tools"] = kTools;
    return more;
  }
  /// The one choice of an answer.
  Json choice(const Json& body) { return server_.post("/v1/chat/completions", body)["choices"][0]; }
  std::string prompt(const Json& body) { return server_.post("/apply-template", body)["prompt"]; }
  std::string tools_of(TestServer& server, const std::string& model) {
    return Json::parse(server.ask("GET", "/v1/models/" + model, "", "")->body())["tools"];
  }

  testing::TinyModels models_;
  TestServer server_;
};

TEST_F(GenericToolsTest, CallsAreFoundBehindText) {
  const Json answer = choice(asked(user(std::string("!say Let me see.\n") + kCall + "\n" + kNow)));
  EXPECT_EQ(answer["finish_reason"], "tool_calls");
  EXPECT_EQ(answer["message"]["content"], "Let me see.");
  const Json& calls = answer["message"]["tool_calls"];
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0]["function"], Json::parse(R"({"name":"weather","arguments":"{\"city\": \"Bonn\"}"})"));
  EXPECT_EQ(calls[1]["function"], Json::parse(R"({"name":"now","arguments":"{}"})"));
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);
}

TEST_F(GenericToolsTest, AStreamBeginsACallWithItsIdAndName) {
  const auto exchange = server_.ask("POST", "/v1/chat/completions",
                                    asked(user(std::string("!say So: ") + kCall), {{"stream", true}}).dump());
  const auto choices = assemble(exchange->body());
  ASSERT_EQ(choices.size(), 1U);
  EXPECT_EQ(choices[0].content, "So:");
  EXPECT_EQ(choices[0].finish_reason, "tool_calls");
  ASSERT_EQ(choices[0].calls.size(), 1U);
  EXPECT_EQ(choices[0].calls[0]["function"]["name"], "weather");
  EXPECT_EQ(choices[0].calls[0]["function"]["arguments"], R"({"city": "Bonn"})");
  EXPECT_FALSE(choices[0].calls[0]["id"].get<std::string>().empty());
}

TEST_F(GenericToolsTest, TheChoiceIsKept) {
  EXPECT_EQ(choice(asked(user("!say Hello")))["message"]["content"], "Hello");
  const Json required = choice(asked(user("!say Hello"), {{"tool_choice", "required"}}));
  EXPECT_EQ(required["finish_reason"], "tool_calls");
  EXPECT_EQ(required["message"]["content"], nullptr);
  const Json named = choice(
      asked(user("!say Hello"), {{"tool_choice", Json::parse(R"({"type":"function","function":{"name":"now"}})")}}));
  EXPECT_EQ(named["message"]["tool_calls"][0]["function"]["name"], "now");
  const Json none = choice(asked(user(std::string("!say ") + kCall), {{"tool_choice", "none"}}));
  EXPECT_EQ(none["finish_reason"], "stop");
  EXPECT_FALSE(none["message"].contains("tool_calls"));
  const Json one = choice(asked(user(std::string("!say ") + kCall + "\n" + kNow), {{"parallel_tool_calls", false}}));
  EXPECT_EQ(one["message"]["tool_calls"].size(), 1U);
}

TEST_F(GenericToolsTest, TheTemplateGetsDescriptionsCallsAndResultsAsText) {
  const Json messages = Json::parse(R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},
      {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":
          {"name":"weather","arguments":"{\"city\": \"Bonn\"}"}}]},
      {"role":"tool","tool_call_id":"c","content":"sunny"}])");
  const std::string text = prompt(asked(messages));
  EXPECT_EQ(text.rfind("<|im_start|>system\nBe brief.\n\n# Tools\n", 0), 0U) << text;
  EXPECT_NE(text.find(std::string("<|im_start|>assistant\n") + kCall + "<|im_end|>"), std::string::npos) << text;
  EXPECT_NE(text.find("<|im_start|>user\n<tool_response>\n{\"name\":\"weather\",\"content\":\"sunny\"}\n"
                      "</tool_response><|im_end|>"),
            std::string::npos)
      << text;
  // With tool_choice none the tools are not described, but the conversation is still shown.
  Json body = asked(messages, {{"tool_choice", "none"}});
  body["messages"].push_back({{"role", "user"}, {"content", "!say Bye"}});
  EXPECT_EQ(choice(body)["message"]["content"], "Bye");
}

TEST_F(GenericToolsTest, ModelsSayHowTheyCallTools) {
  EXPECT_EQ(tools_of(server_, "tiny"), "native");
  EXPECT_EQ(tools_of(server_, "plain"), "generic");
  EXPECT_EQ(tools_of(server_, "base"), "none");
  Json body = asked(user("Hi"));
  body["model"] = "base";
  const Json error = server_.post("/v1/chat/completions", body, 400)["error"];
  EXPECT_EQ(error["message"], "this model has no chat template, so it cannot use tools");
  EXPECT_EQ(error["param"], "tools");
}

TEST_F(GenericToolsTest, AreRefusedWhereTheServerSaysSo) {
  ServerOptions options;
  options.generic_tools = false;
  TestServer strict({}, options);
  EXPECT_EQ(tools_of(strict, "tiny"), "native");
  EXPECT_EQ(tools_of(strict, "plain"), "none");
  const Json error = strict.post("/v1/chat/completions", asked(user("Hi")), 400)["error"];
  EXPECT_EQ(error["message"], "this model's chat template does not support tools");
  EXPECT_EQ(error["param"], "tools");
}

}  // namespace
}  // namespace mlxk
