#include "transport/web_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

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

constexpr const char* kOpen =
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr int kText = 1, kClose = 8, kPing = 9, kPong = 10, kMore = 0, kFinal = 0x80;

/// A frame of a client, masked.
std::string frame(int opcode, const std::string& payload, int final = kFinal) {
  const size_t size = payload.size();
  std::string bytes{static_cast<char>(final | opcode)};
  if (size < 126) {
    bytes += static_cast<char>(0x80 | size);
  } else {
    const int width = size <= 0xFFFF ? 2 : 8;
    bytes += static_cast<char>(0x80 | (width == 2 ? 126 : 127));
    for (int i = width; i-- > 0;) bytes += static_cast<char>(size >> (8 * i));
  }
  const std::string mask = "mask";
  bytes += mask;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(payload[i] ^ mask[i % 4]);
  return bytes;
}

struct Frame {
  int opcode = -1;  // -1: the server closed instead
  std::string payload;
  /// The code of a closing frame.
  int code() const {
    return payload.size() < 2 ? 0
                              : static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
  }
};

Frame read_frame(RawClient& client) {
  Frame frame;
  const std::string head = client.read(2);
  if (head.size() < 2) return frame;
  frame.opcode = head[0] & 0x0F;
  size_t size = static_cast<unsigned char>(head[1]);
  if (size >= 126) {
    size_t length = 0;
    for (const char c : client.read(size == 126 ? 2 : 8)) length = length << 8 | static_cast<unsigned char>(c);
    size = length;
  }
  frame.payload = client.read(size);
  return frame;
}

/// A server whose sockets answer each message with "got" and the message; "bye" finishes.
class SocketServer {
 public:
  explicit SocketServer(WebSocketPlan plan = {}, TransportOptions options = any_port())
      : plan_(std::move(plan)), server((prepare(), options), handler) {}

  std::atomic<int> drained{0};
  Signal gone;

 private:
  struct Echo : MessageSink {
    explicit Echo(SocketServer& owner, std::shared_ptr<Exchange> exchange)
        : owner(owner), exchange(std::move(exchange)) {}
    void take(std::string message) override {
      exchange->send("got " + message);
      if (message == "bye") exchange->finish();
    }
    void drain() override {
      ++owner.drained;
      exchange->send("draining");
      exchange->finish();
    }
    SocketServer& owner;
    std::shared_ptr<Exchange> exchange;
  };

  void prepare() {
    handler.on_handle = [this](const HttpRequest& request, std::shared_ptr<Exchange> exchange) {
      if (const std::string problem = websocket_problem(request); !problem.empty()) {
        HttpResponse response;
        response.status = 426;
        response.body = problem;
        return exchange->respond(std::move(response));
      }
      exchange->on_close([this] { gone.set(); });
      WebSocketPlan plan = plan_;
      plan.sink = std::make_shared<Echo>(*this, exchange);
      exchange->upgrade(std::move(plan));
    };
  }

  WebSocketPlan plan_;

 public:
  TestHandler handler;
  HttpServer server;
};

RawClient connect(SocketServer& server, const std::string& behind = {}) {
  RawClient client(server.server.port());
  client.send(kOpen + behind);
  EXPECT_EQ(client.answer(true).status, 101);
  return client;
}

TEST(WebSocket, AnswersTheHandshakeAndMessages) {
  WebSocketPlan plan;
  plan.protocol = "realtime";
  plan.headers.add("X-Extra", "yes");
  SocketServer server(plan);
  RawClient client(server.server.port());
  client.send(kOpen);
  const auto answer = client.answer(true);
  EXPECT_EQ(answer.status, 101);
  EXPECT_EQ(answer.header("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(answer.header("Sec-WebSocket-Protocol"), "realtime");
  EXPECT_EQ(answer.header("X-Extra"), "yes");
  EXPECT_FALSE(answer.header("X-Request-ID").empty());
  client.send(frame(kText, "one"));
  EXPECT_EQ(read_frame(client).payload, "got one");
  client.send(frame(kText, "t", 0) + frame(kPing, "are you there") + frame(kMore, "w", 0) + frame(kMore, "o"));
  const Frame pong = read_frame(client);
  EXPECT_EQ(pong.opcode, kPong);
  EXPECT_EQ(pong.payload, "are you there");
  EXPECT_EQ(read_frame(client).payload, "got two");
  const std::string large(300'000, 'x');
  client.send(frame(kText, large));
  EXPECT_EQ(read_frame(client).payload, "got " + large);
  client.send(frame(kText, "bye"));
  EXPECT_EQ(read_frame(client).payload, "got bye");
  EXPECT_EQ(read_frame(client).code(), 1000);
  client.send(frame(kClose, "\x03\xe8"));
  EXPECT_TRUE(client.ended());
  const auto answers = server.handler.answers(1);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].status, 101);
}

TEST(WebSocket, MessagesRightBehindTheHandshakeCount) {
  SocketServer server;
  RawClient client = connect(server, frame(kText, "early"));
  EXPECT_EQ(read_frame(client).payload, "got early");
}

TEST(WebSocket, RequestsThatAreNoneAreRefused) {
  SocketServer server;
  const std::string open = kOpen;
  const auto without = [&](const std::string& what, const std::string& instead = "") {
    std::string request = open;
    return request.replace(request.find(what), what.size(), instead);
  };
  for (const std::string& request :
       {without("Upgrade: websocket\r\n"), without("Upgrade: websocket", "Upgrade: h2c"),
        without("Version: 13", "Version: 8"), without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        without("dGhlIHNhbXBsZSBub25jZQ==", "short"), without("keep-alive, Upgrade", "keep-alive"),
        without("GET", "POST")}) {
    RawClient client(server.server.port());
    EXPECT_EQ(client.ask(request).status, 426) << request;
  }
}

TEST(WebSocket, BrokenFramesEndIt) {
  SocketServer server;
  std::string bare = frame(kText, "x");
  bare[1] = 1;  // not masked
  for (const auto& [bytes, code] : {std::pair{bare, 1002},
                                    {frame(3, "x"), 1002},
                                    {frame(kMore, "x"), 1002},
                                    {frame(kPing, std::string(126, 'x')), 1002},
                                    {frame(kText, "\xff\xfe"), 1007}}) {
    RawClient client = connect(server, bytes);
    const Frame last = read_frame(client);
    EXPECT_EQ(last.opcode, kClose);
    EXPECT_EQ(last.code(), code);
  }
}

TEST(WebSocket, AMessageHasALimit) {
  WebSocketPlan plan;
  plan.max_message_bytes = 1000;
  SocketServer server(plan);
  RawClient client = connect(server, frame(kText, std::string(1000, 'x')));
  EXPECT_EQ(read_frame(client).payload.size(), 1004U);
  client.send(frame(kText, std::string(600, 'x'), 0) + frame(kMore, std::string(401, 'x')));
  EXPECT_EQ(read_frame(client).code(), 1009);
  EXPECT_TRUE(server.gone.wait());
}

TEST(WebSocket, AllMessagesThatArriveHaveALimitTogether) {
  auto options = any_port();
  options.max_body_bytes = 10'000;
  SocketServer server({}, options);
  RawClient client = connect(server, frame(kText, std::string(9'000, 'x')));
  EXPECT_EQ(read_frame(client).payload.size(), 9'004U);
  client.send(frame(kText, std::string(90'000, 'x')));
  EXPECT_EQ(read_frame(client).code(), 1013);
}

TEST(WebSocket, OneThatIsIdleIsClosed) {
  WebSocketPlan plan;
  plan.idle_timeout = 50ms;
  SocketServer server(plan);
  RawClient client = connect(server);
  const Frame last = read_frame(client);
  EXPECT_EQ(last.code(), 1008);
  EXPECT_THAT(last.payload, HasSubstr("no message for 0.05 s"));
  EXPECT_TRUE(server.gone.wait());
}

TEST(WebSocket, PingsAndHalvesOfMessagesAreIdle) {
  WebSocketPlan plan;
  plan.idle_timeout = 100ms;
  SocketServer server(plan);
  RawClient client = connect(server, frame(kText, "half", 0));
  std::atomic<bool> ended = false;
  std::thread pings([&] {
    while (!ended && client.send(frame(kPing, "."))) std::this_thread::sleep_for(5ms);
  });
  Frame last;
  do last = read_frame(client);
  while (last.opcode == kPong);
  ended = true;
  pings.join();
  EXPECT_EQ(last.code(), 1008);
}

TEST(WebSocket, OneThatIsOpenForTooLongIsClosed) {
  WebSocketPlan plan;
  plan.total_timeout = 100ms;
  SocketServer server(plan);
  RawClient client = connect(server);
  std::atomic<bool> ended = false;
  std::thread talk([&] {
    while (!ended && client.send(frame(kText, "."))) std::this_thread::sleep_for(5ms);
  });
  Frame last;
  do last = read_frame(client);
  while (last.opcode == kText);
  ended = true;
  talk.join();
  EXPECT_EQ(last.code(), 1008);
  EXPECT_THAT(last.payload, HasSubstr("open for 0.1 s"));
}

TEST(WebSocket, ADrainTellsTheSinkAndWaits) {
  SocketServer server;
  RawClient client = connect(server);
  client.send(frame(kText, "x"));
  EXPECT_EQ(read_frame(client).payload, "got x");
  std::thread drain([&] { EXPECT_TRUE(server.server.drain(60s)); });
  EXPECT_EQ(read_frame(client).payload, "draining");
  EXPECT_EQ(read_frame(client).code(), 1001);
  client.send(frame(kClose, "\x03\xe9"));
  drain.join();
  EXPECT_EQ(server.drained, 1);
}

TEST(WebSocket, AClientThatLeavesIsNoticed) {
  for (const bool properly : {true, false}) {
    SocketServer server;
    RawClient client = connect(server);
    client.send(frame(kText, "x"));
    EXPECT_EQ(read_frame(client).payload, "got x");
    if (properly) {
      client.send(frame(kClose, "\x03\xe8"));
      EXPECT_EQ(read_frame(client).code(), 1000);
    } else {
      client.reset();
    }
    EXPECT_TRUE(server.gone.wait());
    EXPECT_TRUE(eventually([&] { return server.server.connections() == 0; }));
  }
}

TEST(WebSocket, AClientThatDoesNotReadIsCutOff) {
  auto options = any_port();
  options.max_unsent_bytes = 100'000;
  SocketServer server({}, options);
  RawClient client = connect(server);
  const std::string large = frame(kText, std::string(50'000, 'x'));
  while (client.send(large)) {
  }
  EXPECT_TRUE(server.gone.wait());
}

}  // namespace
}  // namespace mlxk
