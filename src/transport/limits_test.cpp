// The time, size and number limits that a server sets for its clients.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

#include "base/error.h"
#include "transport/http_server.h"
#include "transport/testing/raw_client.h"
#include "transport/testing/test_handler.h"

namespace mlxk {
namespace {

using namespace std::chrono_literals;
using testing::any_port;
using testing::eventually;
using ::testing::HasSubstr;
using testing::RawClient;
using testing::Signal;
using ::testing::StartsWith;
using testing::TestHandler;

constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(Limits, AHeadMustArriveInTime) {
  TestHandler handler;
  auto options = any_port();
  options.header_timeout = 30ms;
  HttpServer server(options, handler);
  RawClient client(server.port());
  client.send("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(client.answer().status, 408);
  EXPECT_TRUE(client.ended());
}

TEST(Limits, AHeadThatDripsIsCutOff) {
  TestHandler handler;
  auto options = any_port();
  options.header_timeout = 50ms;
  HttpServer server(options, handler);
  RawClient client(server.port());
  const auto end = std::chrono::steady_clock::now() + 10s;
  client.send("GET / HTTP/1.1\r\n");
  while (server.connections() > 0 && std::chrono::steady_clock::now() < end && client.send("A: b\r\n")) {
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 408"));
}

TEST(Limits, AnIdleConnectionIsClosed) {
  TestHandler handler;
  auto options = any_port();
  options.idle_timeout = 50ms;
  HttpServer server(options, handler);
  RawClient fresh(server.port());
  EXPECT_TRUE(fresh.ended()) << "no answer to what was no request";
  EXPECT_TRUE(eventually([&] {  // on a busy machine a client may come too late
    RawClient used(server.port());
    return used.ask(kGet).status == 200 && used.ended();
  }));
}

TEST(Limits, ABodyMustNotStall) {
  TestHandler handler;
  auto options = any_port();
  options.body_stall_timeout = 30ms;
  HttpServer server(options, handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").status, 408);
  EXPECT_TRUE(client.ended());
}

TEST(Limits, ABodyMustArriveInTime) {
  TestHandler handler;
  auto options = any_port();
  options.body_timeout = 50ms;
  HttpServer server(options, handler);
  RawClient client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (server.active() > 0 && std::chrono::steady_clock::now() < end && client.send("x")) {
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(client.answer().status, 408);
}

TEST(Limits, AnnouncedBodiesAreRefusedBeforeTheyAreRead) {
  TestHandler handler;
  handler.limit = 10;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  const auto answer = client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.body, HasSubstr("[body] may have 10 bytes, got 11"));
  EXPECT_TRUE(client.ended());
}

TEST(Limits, AChunkThatIsTooLargeIsRefusedByItsSize) {
  TestHandler handler;
  handler.limit = 10;
  HttpServer server(any_port(), handler);
  for (const char* chunks : {"b\r\n", "6\r\nabcdef\r\n5\r\n", "7fffffffffffffff\r\n", "ffffffffffffffff\r\n"}) {
    RawClient client(server.port());
    const auto answer =
        client.ask(std::string("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n") + chunks);
    EXPECT_EQ(answer.status, 413) << chunks;
    EXPECT_THAT(answer.body, HasSubstr("[body] may have 10 bytes, got more")) << chunks;
  }
}

TEST(Limits, AClientThatSendsTooMuchStillReadsWhy) {
  TestHandler handler;
  handler.limit = 10;
  HttpServer server(any_port(), handler);
  for (const char* framing : {"Content-Length: 8000000", "Transfer-Encoding: chunked"}) {
    RawClient client(server.port());
    client.send(std::string("POST / HTTP/1.1\r\nHost: x\r\n") + framing + "\r\n\r\n");
    client.send("7a1200\r\n" + std::string(8'000'000, 'x'));
    EXPECT_EQ(client.answer().status, 413) << framing;
  }
}

TEST(Limits, ABodyOfTheWholeLimitIsTaken) {
  TestHandler handler;
  handler.limit = 3'000'000;
  HttpServer server(any_port(), handler);
  const std::string body(handler.limit, 'x');
  RawClient client(server.port());
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + body).body.size(),
            8 + body.size());
  const auto chunked = client.ask(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n16e360;ext=\"a\"\r\n" +
      body.substr(0, 1'500'000) + "\r\n16e360\r\n" + body.substr(0, 1'500'000) + "\r\n0\r\nTrailer: x\r\n\r\n");
  EXPECT_EQ(chunked.body.size(), 8 + body.size());
  EXPECT_EQ(client.ask(kGet).status, 200);
}

TEST(Limits, ContinueIsSaidOnlyToWhoWillBeRead) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(client.ask("ab").body, "POST /? ab");
  handler.on_plan = [](const HttpRequest&) {
    BodyPlan plan;
    plan.refusal = HttpResponse{401, "text/plain", "who?", {}};
    return plan;
  };
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").status, 401);
  EXPECT_TRUE(client.ended());
}

TEST(Limits, ARefusedRequestWithASmallBodyKeepsItsConnection) {
  TestHandler handler;
  handler.on_plan = [](const HttpRequest& head) {
    BodyPlan plan;
    plan.limit = 100;
    if (head.path == "/no") plan.refusal = HttpResponse{401, "text/plain", "who?", {}};
    return plan;
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").status, 401);
  EXPECT_EQ(client.ask("POST /yes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").body, "POST /yes? abc");
  client.send("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'x'));
  EXPECT_EQ(client.answer().status, 401);
  EXPECT_TRUE(client.ended());
}

TEST(Limits, BodiesThatArriveShareTheirRoom) {
  TestHandler handler;
  auto options = any_port();
  options.max_body_bytes = 1'000;
  HttpServer server(options, handler);
  RawClient first(server.port());
  handler.limit = 1'000;
  first.send("POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + std::string(800, 'x'));
  ASSERT_TRUE(eventually([&] { return server.active() == 1; }));
  const std::string large = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + std::string(300, 'x');
  EXPECT_TRUE(eventually([&] { return RawClient(server.port()).ask(large).status == 503; }));
  EXPECT_EQ(first.ask(std::string(100, 'x')).status, 200);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(RawClient(server.port()).ask(large).status, 200);
}

class CountingSink : public BodySink {
 public:
  void take(std::string_view bytes) override {
    size_ += bytes.size();
    largest_ = std::max(largest_, bytes.size());
    if (size_ > 500'000) throw Error(ErrorKind::unsupported, "[audio] is no audio");
  }
  size_t size_ = 0, largest_ = 0;
};

TEST(Limits, ASinkTakesABodyInPieces) {
  TestHandler handler;
  std::shared_ptr<CountingSink> sink;
  handler.on_plan = [&](const HttpRequest&) {
    BodyPlan plan;
    plan.limit = 1 << 20;
    plan.sink = sink = std::make_shared<CountingSink>();
    return plan;
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + std::string(500'000, 'x')).body,
            "POST /? ");
  EXPECT_EQ(sink->size_, 500'000u);
  EXPECT_LE(sink->largest_, 128u << 10);
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + std::string(900'000, 'x'));
  const auto refused = client.answer();
  EXPECT_EQ(refused.status, 501);
  EXPECT_THAT(refused.body, HasSubstr("[audio] is no audio"));
}

TEST(Limits, AStreamThatNobodyReadsIsEnded) {
  TestHandler handler;
  auto options = any_port();
  options.max_unsent_bytes = 100'000;
  size_t most = 0;
  Signal gone;
  std::thread writer;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    writer = std::thread([&, exchange] {
      exchange->on_close([&] { gone.set(); });
      exchange->begin({});
      for (int i = 0; i < 1'000'000 && !exchange->closed(); ++i) {
        exchange->send(std::string(10'000, 'x'));
        most = std::max(most, exchange->unsent_bytes());
      }
      exchange->finish();
    });
  };
  HttpServer server(options, handler);
  RawClient client(server.port());
  client.send(kGet);
  EXPECT_TRUE(gone.wait());
  writer.join();
  const auto answered = handler.answers(1);
  ASSERT_EQ(answered.size(), 1u);
  EXPECT_EQ(answered[0].status, 200);
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
  EXPECT_LT(most, 120'000u);
}

TEST(Limits, AnAnswerThatNobodyTakesIsCutOff) {
  TestHandler handler;
  auto options = any_port();
  options.write_stall_timeout = 50ms;
  constexpr size_t kSize = 64 << 20;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->respond({200, "text/plain", std::string(kSize, 'x'), {}});
  };
  HttpServer server(options, handler);
  RawClient client(server.port());
  client.send(kGet);
  const auto answered = handler.answers(1);
  ASSERT_EQ(answered.size(), 1u);
  EXPECT_LT(answered[0].bytes, kSize);
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(Limits, ASlowReaderGetsALongAnswerWhole) {
  TestHandler handler;
  constexpr size_t kSize = 32 << 20;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->respond({200, "text/plain", std::string(kSize, 'x'), {}});
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(kGet).body.size(), kSize);
  EXPECT_GT(handler.answers(1)[0].bytes, kSize);
}

TEST(Limits, MoreConnectionsThanAllowedAreTurnedAway) {
  TestHandler handler;
  auto options = any_port();
  options.max_connections = 2;
  HttpServer server(options, handler);
  RawClient first(server.port());
  {
    RawClient second(server.port());
    EXPECT_EQ(first.ask(kGet).status, 200);
    EXPECT_EQ(second.ask(kGet).status, 200);
    RawClient third(server.port());
    EXPECT_EQ(third.answer().status, 503);
    EXPECT_TRUE(third.ended());
    EXPECT_EQ(first.ask(kGet).status, 200);
  }
  EXPECT_TRUE(eventually([&] { return server.connections() == 1; }));
  RawClient fourth(server.port());
  EXPECT_EQ(fourth.ask(kGet).status, 200);
}

TEST(Limits, RunningOutOfDescriptorsOnlyDelays) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient before(server.port());
  EXPECT_EQ(before.ask(kGet).status, 200);
  RawClient waiting(server.port());
  ASSERT_TRUE(eventually([&] { return server.connections() == 2; }));
  RawClient late(server.port());  // its own end is open; the server's comes under the limit
  ASSERT_TRUE(eventually([&] { return server.connections() == 3; }));

  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  int sockets[8];
  for (int& socket : sockets) socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const rlimit none{3, usual.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  for (const int socket : sockets)
    EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(before.ask(kGet).status, 200) << "those that are there are served";
  EXPECT_EQ(server.connections(), 3u);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  EXPECT_TRUE(eventually([&] { return server.connections() == 11; }));
  for (const int socket : sockets) ::close(socket);
}

TEST(Limits, AResetWhileStreamingEndsOneConnection) {
  TestHandler handler;
  Signal gone;
  handler.on_handle = [&](HttpRequest request, std::shared_ptr<Exchange> exchange) {
    if (request.path == "/") return exchange->respond({});
    exchange->on_close([&] { gone.set(); });
    exchange->begin({});
    std::thread([exchange] {
      while (!exchange->closed()) {
        exchange->send("data: x\n\n");
        std::this_thread::sleep_for(1ms);
      }
    }).detach();
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("data");
  client.reset();
  EXPECT_TRUE(gone.wait());
  RawClient next(server.port());
  EXPECT_EQ(next.ask(kGet).status, 200);
}

}  // namespace
}  // namespace mlxk
