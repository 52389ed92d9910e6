// Answers that do not end as they began: clients that go, engines that fail, deadlines, long waits.
#include "server/testing/test_server.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

using std::chrono::milliseconds;
using testing::TestServer;
using testing::user;

class AnswerCancelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { models_ = std::make_unique<testing::TinyModels>(); }
  static void TearDownTestSuite() { models_.reset(); }

  static std::string endless(bool stream, int prompt = 10) {
    return Json{{"model", "tiny"},
                {"prompt", std::string(static_cast<size_t>(prompt), 'y') + "!endless"},
                {"max_tokens", 400},
                {"stream", stream}}
        .dump();
  }

 private:
  inline static std::unique_ptr<testing::TinyModels> models_;
};

TEST_F(AnswerCancelTest, a_client_that_goes_in_decode_frees_the_engine) {
  for (const bool stream : {false, true}) {
    TestServer server({.step = milliseconds(5)});
    const auto exchange = server.start("POST", "/v1/completions", endless(stream));
    if (stream) {
      ASSERT_TRUE(exchange->wait_for_text("\"x\""));
    } else {
      while (server.worker.status().tokens < 3) std::this_thread::sleep_for(milliseconds(1));
    }
    exchange->disconnect();
    const std::string before = exchange->body();
    EXPECT_TRUE(server.wait_until_idle());
    EXPECT_LT(server.worker.status().tokens, 400u);
    EXPECT_EQ(exchange->body(), before);
  }
}

TEST_F(AnswerCancelTest, a_client_that_goes_in_prefill_frees_the_engine) {
  TestServer server({.step = milliseconds(5), .prefill_part = 1});
  const auto exchange = server.start("POST", "/v1/completions", endless(true, 500));
  while (server.worker.status().running == 0) std::this_thread::sleep_for(milliseconds(1));
  exchange->disconnect();
  EXPECT_TRUE(server.wait_until_idle());
  EXPECT_EQ(server.worker.status().tokens, 0u);
}

TEST_F(AnswerCancelTest, a_client_that_goes_in_the_queue_is_forgotten) {
  TestServer server({.step = milliseconds(5)}, {}, {.max_running = 1});
  const auto first = server.start("POST", "/v1/completions", endless(false));
  while (server.worker.status().running == 0) std::this_thread::sleep_for(milliseconds(1));
  const auto second = server.start("POST", "/v1/completions", endless(true));
  while (server.worker.status().waiting == 0) std::this_thread::sleep_for(milliseconds(1));
  second->disconnect();
  while (server.worker.status().waiting > 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(second->heads(), 0);
  first->disconnect();
  EXPECT_TRUE(server.wait_until_idle());
}

TEST_F(AnswerCancelTest, a_client_that_goes_before_the_preparation_costs_nothing) {
  TestServer server;
  const auto exchange = std::make_shared<testing::FakeExchange>(server.io);
  exchange->disconnect();
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/completions";
  request.headers.add("Content-Type", "application/json");
  request.body = endless(true);
  server.server.handle(request, exchange);
  server.post("/v1/completions", {{"model", "tiny"}, {"prompt", "!say a"}});
  EXPECT_EQ(server.worker.status().tokens, 1u);
  EXPECT_EQ(exchange->heads(), 0);
}

TEST_F(AnswerCancelTest, a_stop_string_ends_the_engines_work) {
  TestServer server({.step = milliseconds(5)});
  const Json answer = server.post(
      "/v1/completions", {{"model", "tiny"}, {"prompt", "!say abcdefgh" + std::string(400, '.')}, {"stop", "d"}});
  EXPECT_EQ(answer["choices"][0]["text"], "abc");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 4);
  EXPECT_TRUE(server.wait_until_idle());
  EXPECT_LT(server.worker.status().tokens, 400u);
}

TEST_F(AnswerCancelTest, a_failure_before_the_first_byte_has_its_status) {
  TestServer server;
  for (const bool stream : {false, true}) {
    const Json body = {{"model", "tiny"}, {"messages", user("!fail start")}, {"stream", stream}};
    EXPECT_EQ(server.post("/v1/chat/completions", body, 400)["error"]["type"], "validation_error");
  }
  const Json alone = {{"model", "tiny"}, {"messages", user("!fail alone")}};
  EXPECT_EQ(server.post("/v1/chat/completions", alone, 500)["error"]["type"], "internal_error");
}

TEST_F(AnswerCancelTest, a_failure_in_mid_stream_is_an_event_and_the_end) {
  TestServer server;
  for (const char* how : {"!fail alone", "!fail step"}) {
    const auto exchange =
        server.ask("POST", "/v1/chat/completions",
                   Json{{"model", "tiny"}, {"messages", user(how)}, {"stream", true}, {"n", 2}}.dump());
    EXPECT_EQ(exchange->status(), 200);
    const auto events = testing::events_of(exchange->body());
    ASSERT_GE(events.size(), 3u);
    EXPECT_EQ(events.back(), "[DONE]");
    const Json error = Json::parse(events[events.size() - 2]);
    EXPECT_EQ(error["status"], "error");
    EXPECT_EQ(error["request_id"], exchange->request_id());
    for (const auto& choice : testing::assemble(exchange->body())) EXPECT_EQ(choice.finish_reason, "");
    EXPECT_TRUE(server.wait_until_idle());
  }
  EXPECT_EQ(server.post("/v1/completions", {{"model", "tiny"}, {"prompt", "!say ok"}})["choices"][0]["text"], "ok");
}

TEST_F(AnswerCancelTest, a_deadline_that_passes_is_504) {
  TestServer server({.step = milliseconds(5)});
  Json body = Json::parse(endless(false));
  body["deadline_ms"] = 60;
  const Json error = server.post("/v1/completions", body, 504)["error"];
  EXPECT_EQ(error["type"], "gateway_timeout");
  EXPECT_EQ(error["retryable"], true);
}

TEST_F(AnswerCancelTest, a_full_queue_says_when_to_come_again) {
  TestServer server({.step = milliseconds(5)}, {}, {.max_running = 1, .max_waiting = 1});
  const auto first = server.start("POST", "/v1/completions", endless(false));
  while (server.worker.status().running == 0) std::this_thread::sleep_for(milliseconds(1));
  const auto second = server.start("POST", "/v1/completions", endless(false));
  while (server.worker.status().waiting == 0) std::this_thread::sleep_for(milliseconds(1));
  const auto third = server.ask("POST", "/v1/completions", endless(true));
  EXPECT_EQ(third->status(), 429) << third->body();
  EXPECT_TRUE(third->head().headers.find("retry-after"));
  first->disconnect();
  second->disconnect();
  EXPECT_TRUE(server.wait_until_idle());
}

TEST_F(AnswerCancelTest, a_stream_that_waits_is_kept_alive_by_comments) {
  TestServer server({.step = milliseconds(5), .prefill_part = 1}, {.keep_alive = milliseconds(20)});
  const auto exchange =
      server.start("POST", "/v1/completions",
                   Json{{"model", "tiny"}, {"prompt", std::string(200, 'y') + "!say done"}, {"stream", true}}.dump());
  EXPECT_TRUE(exchange->wait_for_text(": keep-alive\n\n"));
  EXPECT_TRUE(exchange->wait());
  EXPECT_EQ(testing::assemble(exchange->body())[0].content, "done");
}

TEST_F(AnswerCancelTest, the_engines_end_is_told_to_those_who_wait) {
  auto exchange = std::shared_ptr<testing::FakeExchange>();
  {
    TestServer server({.step = milliseconds(5)});
    exchange = server.start("POST", "/v1/completions", endless(true));
    ASSERT_TRUE(exchange->wait_for_text("\"x\""));
  }  // must not hang, nor access destroyed objects
  EXPECT_EQ(exchange->body().find("[DONE]"), std::string::npos);
}

}  // namespace
}  // namespace mlxk
