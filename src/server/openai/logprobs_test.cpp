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
  EXPECT_EQ(logprobs["tokens"].size(), 8u) << "the prompt's six, the answer's, and the one that ended it";
  EXPECT_EQ(logprobs["token_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["top_logprobs"][0], nullptr);
  EXPECT_TRUE(logprobs["token_logprobs"][1].is_number());
  EXPECT_EQ(logprobs["text_offset"], Json::parse("[0,1,2,3,4,5,6,7]"));
  EXPECT_EQ(choice["finish_reason"], "stop");
}

// As evaluation harnesses ask: lists of ids, the prompts' scores, and one token or none beyond them.
TEST_F(LogprobsTest, scores_hundreds_of_prompts_in_one_request) {
  Json prompts = Json::array();
  for (int i = 0; i < 300; ++i) {
    prompts.push_back(Json::array());
    for (int k = 0; k < 2 + i % 5; ++k) prompts.back().push_back('a' + (i + k) % 26);
  }
  for (const int tokens : {0, 1}) {
    const Json answer = server_.post("/v1/completions", {{"model", "tiny"},
                                                         {"prompt", prompts},
                                                         {"max_tokens", tokens},
                                                         {"logprobs", 1},
                                                         {"temperature", 0},
                                                         {"seed", 1234},
                                                         {"echo", true}});
    ASSERT_EQ(answer["choices"].size(), prompts.size());
    size_t prompt_tokens = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const Json& choice = answer["choices"][i];
      EXPECT_EQ(choice["index"], i);
      EXPECT_EQ(choice["finish_reason"], "length");
      const size_t count = prompts[i].size() + static_cast<size_t>(tokens);
      prompt_tokens += prompts[i].size();
      for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
        ASSERT_EQ(choice["logprobs"][list].size(), count) << list;
      }
      for (size_t k = 0; k < prompts[i].size(); ++k) {
        const int id = prompts[i][k];
        EXPECT_EQ(choice["logprobs"]["tokens"][k], std::string(1, static_cast<char>(id)));
        if (k > 0) {
          EXPECT_EQ(choice["logprobs"]["token_logprobs"][k], -0.25 * (1 + id % 7));
        }
      }
    }
    EXPECT_EQ(answer["usage"]["prompt_tokens"], prompt_tokens);
    EXPECT_EQ(answer["usage"]["completion_tokens"], tokens * 300);
  }
}

TEST_F(LogprobsTest, the_token_that_ends_an_answer_is_scored_with_its_prompt) {
  const Json body = {{"model", "tiny"}, {"prompt", "!say "}, {"logprobs", 1},
                     {"echo", true},    {"max_tokens", 1},   {"temperature", 0}};
  const Json choice = server_.post("/v1/completions", body)["choices"][0];
  EXPECT_EQ(choice["text"], "!say ");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["logprobs"]["token_logprobs"].size(), 6u);
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][5].is_number());
}

}  // namespace
}  // namespace mlxk
