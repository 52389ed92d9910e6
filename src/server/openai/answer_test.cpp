// The answers of chat and completions, from the request to the bytes: shapes, streams, several choices, usage.
#include "server/testing/test_server.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

using testing::assemble;
using testing::Assembled;
using testing::TestServer;
using testing::user;

class AnswerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { models_ = std::make_unique<testing::TinyModels>(); }
  static void TearDownTestSuite() { models_.reset(); }

  Json chat(Json body, int status = 200) {
    body["model"] = body.value("model", "tiny");
    return server_.post("/v1/chat/completions", body, status);
  }
  std::string streamed(const std::string& path, Json body) {
    body["model"] = "tiny";
    body["stream"] = true;
    const auto exchange = server_.ask("POST", path, body.dump());
    EXPECT_EQ(exchange->status(), 200);
    EXPECT_EQ(exchange->head().content_type, "text/event-stream; charset=utf-8");
    EXPECT_EQ(exchange->head().headers.find("cache-control"), "no-cache");
    return exchange->body();
  }

  TestServer server_;

 private:
  inline static std::unique_ptr<testing::TinyModels> models_;
};

Json weather_tools() {
  return Json::parse(R"([{"type":"function","function":{"name":"weather","parameters":
      {"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}])");
}

TEST_F(AnswerTest, a_chat_answer_has_openais_shape) {
  Json answer = chat({{"messages", user("!say Grüße")}});
  EXPECT_EQ(answer["id"].get<std::string>().rfind("chatcmpl-", 0), 0u);
  EXPECT_GT(answer["created"].get<int64_t>(), 1'700'000'000);
  answer.erase("id");
  answer.erase("created");
  const auto prompt = answer["usage"]["prompt_tokens"].get<int>();
  answer["usage"]["prompt_tokens"] = 0;
  EXPECT_EQ(answer, Json::parse(R"({"object":"chat.completion","model":"tiny","choices":[{"index":0,"message":
      {"role":"assistant","content":"Grüße","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":
      {"prompt_tokens":0,"completion_tokens":8,"total_tokens":36,"prompt_tokens_details":{"cached_tokens":0},
       "completion_tokens_details":{"reasoning_tokens":0}}})"));
  EXPECT_EQ(prompt + 8, 36);
}

TEST_F(AnswerTest, a_stream_has_openais_shape) {
  const auto events = testing::events_of(streamed("/v1/chat/completions", {{"messages", user("!say é")}}));
  ASSERT_EQ(events.size(), 4u);
  std::vector<Json> chunks;
  for (size_t i = 0; i < 3; ++i) {
    Json chunk = Json::parse(events[i]);
    EXPECT_EQ(chunk["id"], Json::parse(events[0])["id"]);
    chunk.erase("id");
    chunk.erase("created");
    chunks.push_back(chunk);
  }
  const auto expected = [](const char* delta, const char* reason) {
    return Json::parse(
        std::string(R"({"object":"chat.completion.chunk","model":"tiny","choices":[{"index":0,"delta":)") + delta +
        R"(,"logprobs":null,"finish_reason":)" + reason + "}]}");
  };
  EXPECT_EQ(chunks[0], expected(R"({"role":"assistant","content":""})", "null"));
  EXPECT_EQ(chunks[1], expected(R"({"content":"é"})", "null"));
  EXPECT_EQ(chunks[2], expected("{}", "\"stop\""));
  EXPECT_EQ(events[3], "[DONE]");
}

TEST_F(AnswerTest, a_completion_has_openais_shape) {
  Json answer = server_.post("/v1/completions", {{"model", "tiny"}, {"prompt", "!say abc"}, {"max_tokens", 2}});
  EXPECT_EQ(answer["id"].get<std::string>().rfind("cmpl-", 0), 0u);
  answer.erase("id");
  answer.erase("created");
  EXPECT_EQ(answer,
            Json::parse(R"({"object":"text_completion","model":"tiny","choices":[{"index":0,"text":"ab","logprobs":null,
      "finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,
      "prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}})"));
  const auto events = testing::events_of(streamed("/v1/completions", {{"prompt", "!say x"}}));
  ASSERT_EQ(events.size(), 4u);
  const Json first = Json::parse(events[0]);
  EXPECT_EQ(first["object"], "text_completion");
  EXPECT_EQ(first["choices"], Json::parse(R"([{"index":0,"text":"","logprobs":null,"finish_reason":null}])"));
  EXPECT_EQ(Json::parse(events[1])["choices"],
            Json::parse(R"([{"index":0,"text":"x","logprobs":null,"finish_reason":null}])"));
  EXPECT_EQ(Json::parse(events[2])["choices"],
            Json::parse(R"([{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}])"));
}

TEST_F(AnswerTest, a_stream_says_what_the_whole_answer_says) {
  const std::vector<std::pair<std::string, Json>> cases = {
      {"plain", {{"messages", user("!say Der Fluß — \"zitiert\" \\ \t\n🙂🙂 Ende")}}},
      {"stop string", {{"messages", user("!say one two STOP three")}, {"stop", "STOP"}}},
      {"half a stop string", {{"messages", user("!say one two STO")}, {"stop", {"STOP", "STOLE"}}}},
      {"reasoning", {{"messages", user("!say <think>\nFirst…\nthen\n</think>\n\nThe answer")}}},
      {"reasoning alone", {{"messages", user("!say <think>\nno end")}}},
      {"length", {{"messages", user("!say abcdefghij")}, {"max_tokens", 4}}},
      {"a character cut off", {{"messages", user("!say ab🙂")}, {"max_tokens", 4}}},
      {"nothing", {{"messages", user("!say ")}}},
      {"call",
       {{"messages", user("!say Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": "
                          "\"Köln\"}}\n</tool_call>")},
        {"tools", weather_tools()}}},
      {"unscripted", {{"messages", user("tell me something")}}},
  };
  for (const auto& [name, body] : cases) {
    SCOPED_TRACE(name);
    const Json whole = chat(body);
    const Json& choice = whole["choices"][0];
    Json asked = body;
    asked["stream_options"] = {{"include_usage", true}};
    Json usage;
    const auto choices = assemble(streamed("/v1/chat/completions", asked), &usage);
    ASSERT_EQ(choices.size(), 1u);
    const Assembled& stream = choices[0];
    const Json& message = choice["message"];
    EXPECT_EQ(message["content"].is_null() ? "" : message["content"].get<std::string>(), stream.content);
    EXPECT_EQ(message.value("reasoning_content", ""), stream.reasoning);
    EXPECT_EQ(choice["finish_reason"], stream.finish_reason);
    Json calls = message.value("tool_calls", Json::array()), streamed_calls = stream.calls;
    ASSERT_EQ(calls.size(), streamed_calls.size());
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(calls[i]["id"].get<std::string>().size(), 9u) << "as Mistral's templates want it";
      calls[i].erase("id");
      streamed_calls[i].erase("id");
    }
    EXPECT_EQ(calls, streamed_calls);
    // The second time the prompt is cached, all else is the same.
    Json counted = whole["usage"];
    counted["prompt_tokens_details"] = usage["prompt_tokens_details"];
    EXPECT_EQ(counted, usage);
  }
}

TEST_F(AnswerTest, reasoning_stands_apart_from_content) {
  const Json choice = chat({{"messages", user("!say <think>\nhm\n</think>\n\nyes")}})["choices"][0];
  EXPECT_EQ(choice["message"]["reasoning_content"], "hm");
  EXPECT_EQ(choice["message"]["content"], "yes");
}

TEST_F(AnswerTest, reasoning_stands_inline_where_that_is_wanted) {
  TestServer inline_server({}, {.inline_reasoning = true});
  const Json body = {{"model", "tiny"}, {"messages", user("!say <think>\nhm\n</think>\n\nyes")}};
  const Json message = inline_server.post("/v1/chat/completions", body)["choices"][0]["message"];
  EXPECT_FALSE(message.contains("reasoning_content"));
  const auto content = message["content"].get<std::string>();
  EXPECT_NE(content.find("**[Reasoning]**"), std::string::npos) << content;
  EXPECT_NE(content.find("**[Answer]**"), std::string::npos) << content;
}

TEST_F(AnswerTest, usage_counts_reasoning_and_cached_tokens) {
  const Json body = {{"messages", user("!say <think>abc</think>de")}};
  const Json first = chat(body)["usage"], second = chat(body)["usage"];
  EXPECT_EQ(first["completion_tokens"], 8);  // <think> a b c </think> d e <|im_end|>
  EXPECT_EQ(first["completion_tokens_details"]["reasoning_tokens"], 3);
  EXPECT_EQ(first["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(second["prompt_tokens_details"]["cached_tokens"].get<int>(), second["prompt_tokens"].get<int>() - 1);
}

TEST_F(AnswerTest, a_request_names_no_draft_model) {
  const Json plain = {{"messages", user("!say abc")}};
  for (const char* name : {"draft_model", "draft-model", "draft_dir"}) {
    Json body = plain;
    body[name] = "/etc";
    EXPECT_EQ(chat(body)["choices"], chat(plain)["choices"])
        << name;  // a field without effect, as any that nobody knows
  }
}

TEST_F(AnswerTest, a_tool_call_ends_with_its_own_reason) {
  const Json choice =
      chat({{"messages",
             user("!say <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>")},
            {"tools", weather_tools()}})["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], nullptr);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_EQ(Json::parse(call["function"]["arguments"].get<std::string>()), (Json{{"city", "Bonn"}}));
}

TEST_F(AnswerTest, a_schema_holds_the_answer) {
  const Json schema = Json::parse(
      R"({"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false})");
  const Json body = {
      {"messages", user("!say {\"n\": 42} and more")},
      {"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}}}}}};
  const auto content = chat(body)["choices"][0]["message"]["content"].get<std::string>();
  EXPECT_EQ(Json::parse(content), (Json{{"n", 42}})) << content;
  EXPECT_EQ(assemble(streamed("/v1/chat/completions", body))[0].content, content);
}

TEST_F(AnswerTest, several_choices_come_side_by_side) {
  const Json body = {{"messages", user("!say abc")}, {"n", 3}, {"stream_options", {{"include_usage", true}}}};
  Json usage;
  const std::string stream = streamed("/v1/chat/completions", body);
  const auto choices = assemble(stream, &usage);
  ASSERT_EQ(choices.size(), 3u);
  for (const Assembled& choice : choices) {
    EXPECT_EQ(choice.content, "abc");
    EXPECT_EQ(choice.finish_reason, "stop");
    EXPECT_EQ(choice.chunks, 5);
  }
  EXPECT_EQ(usage["completion_tokens"], 12);
  Json whole = body;
  whole.erase("stream_options");
  const Json answer = chat(whole);
  ASSERT_EQ(answer["choices"].size(), 3u);
  EXPECT_EQ(answer["choices"][2]["index"], 2);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], usage["prompt_tokens"]);  // once, not three times
}

TEST_F(AnswerTest, several_prompts_are_answered_in_their_order) {
  const Json answer =
      server_.post("/v1/completions", {{"model", "tiny"}, {"prompt", {"!say one", "!say two"}}, {"n", 2}});
  ASSERT_EQ(answer["choices"].size(), 4u);
  EXPECT_EQ(answer["choices"][1]["text"], "one");
  EXPECT_EQ(answer["choices"][2]["text"], "two");
  EXPECT_EQ(answer["choices"][2]["index"], 2);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 16);  // once each
  EXPECT_EQ(answer["usage"]["completion_tokens"], 16);
  const Json ids = server_.post(
      "/v1/completions", {{"model", "tiny"}, {"prompt", {{33, 115, 97, 121, 32, 65}, {33, 115, 97, 121, 32, 66}}}});
  EXPECT_EQ(ids["choices"][0]["text"], "A");
  EXPECT_EQ(ids["choices"][1]["text"], "B");
}

TEST_F(AnswerTest, a_token_id_past_the_vocabulary_is_refused_by_place) {
  const Json error =
      server_.post("/v1/completions", {{"model", "tiny"}, {"prompt", {{1, 2}, {3, 100000}}}}, 400)["error"];
  EXPECT_EQ(error["param"], "prompt[1]");
  EXPECT_NE(error["message"].get<std::string>().find("100000"), std::string::npos);
}

TEST_F(AnswerTest, echo_puts_the_prompt_first) {
  const Json body = {{"prompt", "!say b"}, {"echo", true}};
  Json whole = body;
  whole["model"] = "tiny";
  EXPECT_EQ(server_.post("/v1/completions", whole)["choices"][0]["text"], "!say bb");
  EXPECT_EQ(assemble(streamed("/v1/completions", body))[0].content, "!say bb");
}

TEST_F(AnswerTest, no_tokens_are_an_answer_too) {
  const Json body = {{"prompt", "!say b"}, {"max_tokens", 0}};
  Json whole = body;
  whole["model"] = "tiny";
  const Json answer = server_.post("/v1/completions", whole);
  EXPECT_EQ(answer["choices"][0]["text"], "");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
  EXPECT_EQ(assemble(streamed("/v1/completions", body))[0].content, "");
  const Json said = chat({{"messages", user("!say b")}, {"max_tokens", 0}});
  EXPECT_EQ(said["choices"][0]["message"]["content"], "");
  EXPECT_EQ(said["choices"][0]["finish_reason"], "length");
}

TEST_F(AnswerTest, a_stop_token_ends_an_answer) {
  const Json body = {{"model", "tiny"}, {"prompt", "!say abc"}, {"stop_token_ids", {'c'}}};
  const Json choice = server_.post("/v1/completions", body)["choices"][0];
  EXPECT_EQ(choice["text"], "ab");
  EXPECT_EQ(choice["finish_reason"], "stop");
}

TEST_F(AnswerTest, a_prompt_longer_than_the_context_is_refused_before_the_engine_sees_it) {
  const Json error = chat({{"messages", user(std::string(2000, 'x'))}}, 400)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "messages");
  EXPECT_EQ(server_.worker.status().refused, 0u);
  EXPECT_EQ(server_.worker.status().ended, 0u);
}

TEST_F(AnswerTest, an_answer_has_half_the_context_unless_more_is_asked_for) {
  const auto tokens = [&](const Json& more, TestServer& server) {
    Json body = {{"model", "tiny"}, {"prompt", "!endless"}};
    body.update(more);
    return server.post("/v1/completions", body)["usage"]["completion_tokens"].get<int>();
  };
  EXPECT_EQ(tokens(Json::object(), server_), 512);
  EXPECT_EQ(tokens({{"max_tokens", 700}}, server_), 700);
  EXPECT_EQ(tokens({{"max_tokens", 100000}}, server_), 1024 - 8);
  TestServer limited({}, {.default_max_tokens = 7});
  EXPECT_EQ(tokens(Json::object(), limited), 7);
  EXPECT_EQ(tokens({{"max_tokens", 9}}, limited), 9);
}

}  // namespace
}  // namespace mlxk
