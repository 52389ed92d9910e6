#include "server/openai/logprobs.h"

#include "server/testing/test_server.h"

namespace mlxk {
namespace {

using testing::TestServer;
using testing::user;

class LogprobsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { models_ = std::make_unique<testing::TinyModels>(); }
  static void TearDownTestSuite() { models_.reset(); }

  /// The bytes of the entries of a chat answer, one after the other.
  static std::string joined(const Json& entries) {
    std::string bytes;
    for (const Json& entry : entries) {
      for (const Json& byte : entry["bytes"]) bytes += static_cast<char>(byte.get<int>());
    }
    return bytes;
  }

  TestServer server_;

 private:
  inline static std::unique_ptr<testing::TinyModels> models_;
};

TEST_F(LogprobsTest, chat_entries_have_openais_shape) {
  const Json body = {{"model", "tiny"}, {"messages", user("!say a")}, {"logprobs", true}, {"top_logprobs", 2}};
  const Json choice = server_.post("/v1/chat/completions", body)["choices"][0];
  EXPECT_EQ(choice["logprobs"], Json::parse(R"({"content":[{"token":"a","logprob":-1.75,"bytes":[97],"top_logprobs":[
      {"token":"a","logprob":-1.75,"bytes":[97]},{"token":"b","logprob":-2.75,"bytes":[98]}]}],"refusal":null})"));
}

TEST_F(LogprobsTest, chat_entries_spell_the_content) {
  const std::vector<std::pair<std::string, Json>> cases = {
      {"Grüße 🙂", {{"messages", user("!say Grüße 🙂")}}},
      {"one ", {{"messages", user("!say one STOP two")}, {"stop", "STOP"}}},
      {"The answer", {{"messages", user("!say <think>\nhm\n</think>\n\nThe answer")}}},
      {"", {{"messages", user("!say STOP")}, {"stop", "STOP"}}},
  };
  for (const auto& [content, asked] : cases) {
    SCOPED_TRACE(content);
    Json body = asked;
    body["model"] = "tiny";
    body["logprobs"] = true;
    const Json choice = server_.post("/v1/chat/completions", body)["choices"][0];
    EXPECT_EQ(choice["message"]["content"], content);
    EXPECT_EQ(joined(choice["logprobs"]["content"]), content);
    body["stream"] = true;
    const auto stream = server_.ask("POST", "/v1/chat/completions", body.dump());
    const auto choices = testing::assemble(stream->body());
    ASSERT_EQ(choices.size(), 1u);
    EXPECT_EQ(choices[0].chat_logprobs, choice["logprobs"]["content"]);
  }
}

TEST_F(LogprobsTest, completion_lists_have_openais_shape) {
  const Json body = {{"model", "tiny"}, {"prompt", "!say é the"}, {"logprobs", 1}};
  const Json logprobs = server_.post("/v1/completions", body)["choices"][0]["logprobs"];
  ASSERT_EQ(logprobs["tokens"].size(), 3u);  // two bytes, one word
  EXPECT_EQ(logprobs["tokens"][2], " the");
  EXPECT_EQ(logprobs["text_offset"], Json::parse("[0,1,1]"));
  EXPECT_EQ(logprobs["token_logprobs"].size(), 3u);
  EXPECT_EQ(logprobs["top_logprobs"][2].size(), 1u);
  EXPECT_TRUE(logprobs["top_logprobs"][2].contains(" the"));
}

TEST_F(LogprobsTest, echo_scores_the_prompt_too) {
  const Json body = {{"model", "tiny"}, {"prompt", "!say b"}, {"logprobs", 0}, {"echo", true}};
  const Json choice = server_.post("/v1/completions", body)["choices"][0];
  EXPECT_EQ(choice["text"], "!say bb");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"].size(), 7u);
  EXPECT_EQ(logprobs["token_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["top_logprobs"][0], nullptr);
  EXPECT_TRUE(logprobs["token_logprobs"][1].is_number());
  EXPECT_EQ(logprobs["text_offset"], Json::parse("[0,1,2,3,4,5,6]"));
}

TEST(CountCharacters, counts_where_each_begins) {
  EXPECT_EQ(count_characters("aé🙂"), 3);
  EXPECT_EQ(count_characters("\xA9"), 0);  // the second byte of é
}

}  // namespace
}  // namespace mlxk
