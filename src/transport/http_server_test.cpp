#include "transport/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "transport/testing/raw_client.h"
#include "transport/testing/test_handler.h"

namespace mlxk {
namespace {

using testing::RawAnswer;
using testing::RawClient;
using testing::Signal;
using testing::TestHandler;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TransportOptions any_port() {
  TransportOptions options;
  options.port = 0;
  return options;
}

TEST(HttpServer, AnswersRequestsOfOneConnection) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  const auto first = client.ask("GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "GET /a b?c=d ");
  EXPECT_EQ(first.header("Content-Type"), "text/plain");
  const auto second = client.ask("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(second.body, "POST /b? hello");
  EXPECT_EQ(handler.answers(2)[1].what, "POST /b");
}

TEST(HttpServer, StreamsAnAnswer) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest, std::shared_ptr<Exchange> exchange) {
    std::thread([exchange] {
      HttpResponse head;
      head.content_type = "text/event-stream";
      head.body = "one ";
      exchange->begin(std::move(head));
      exchange->send("two ");
      exchange->send("three");
      exchange->finish();
    }).detach();
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  for (int i = 0; i < 2; ++i) {
    const auto answer = client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "one two three");
  }
}

TEST(HttpServer, TellsThatAClientWhoWaitsHasGone) {
  TestHandler handler;
  Signal asked, gone;
  std::shared_ptr<Exchange> held;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    held = exchange;
    exchange->on_close([&] { gone.set(); });
    asked.set();
  };
  HttpServer server(any_port(), handler);
  {
    RawClient client(server.port());
    client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(asked.wait());
  }
  EXPECT_TRUE(gone.wait());
  EXPECT_TRUE(held->closed());
  held->respond({});
  EXPECT_EQ(handler.answers(1)[0].status, 499);
}

TEST(HttpServer, DrainsByFinishingWhatIsUnderWay) {
  TestHandler handler;
  Signal asked;
  std::shared_ptr<Exchange> held;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    held = exchange;
    asked.set();
  };
  HttpServer server(any_port(), handler);
  RawClient idle(server.port()), busy(server.port());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(asked.wait());
  EXPECT_FALSE(server.drain(std::chrono::milliseconds(1)));
  EXPECT_TRUE(idle.ended());
  EXPECT_THROW(RawClient late(server.port()), std::runtime_error);
  std::thread later([&] { held->respond({}); });
  EXPECT_TRUE(server.drain(std::chrono::seconds(10)));
  later.join();
  const auto answer = busy.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(busy.ended());
}

}  // namespace
}  // namespace mlxk
