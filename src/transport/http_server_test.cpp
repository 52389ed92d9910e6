#include "transport/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "transport/testing/raw_client.h"
#include "transport/testing/test_handler.h"

namespace mlxk {
namespace {

using testing::any_port;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::RawClient;
using testing::Signal;
using testing::TestHandler;

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

TEST(HttpServer, KeepsWhatAClientSendsAhead) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    requests += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
  }
  client.send(requests);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(client.answer().body, "POST /" + std::to_string(i) + "? ab");
}

TEST(HttpServer, KeepsWhatAClientSendsWhileItsAnswerIsStreamed) {
  TestHandler handler;
  std::shared_ptr<Exchange> held;
  Signal asked;
  handler.on_handle = [&](HttpRequest request, std::shared_ptr<Exchange> exchange) {
    if (request.path == "/stream") {
      exchange->begin({});
      held = exchange;
      asked.set();
    } else {
      exchange->respond({200, "text/plain", request.path, {}});
    }
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(asked.wait());
  client.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\nGET /half HTTP/1.1\r\nHo");
  held->send("done");
  held->finish();
  EXPECT_EQ(client.answer().body, "done");
  EXPECT_EQ(client.answer().body, "/next");
  EXPECT_EQ(client.ask("st: x\r\n\r\n").body, "/half");
}

TEST(HttpServer, NoticesAGoneClientThatHadSentFarAhead) {
  TestHandler handler;
  Signal gone;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&gone, exchange] { gone.set(); });
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(100'000, 'A'));
  client.close();
  EXPECT_TRUE(gone.wait());
}

TEST(HttpServer, AnswersAClientThatHasClosedItsHalf) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("GET /half HTTP/1.1\r\nHost: x\r\n\r\n");
  client.shut_down();
  EXPECT_EQ(client.answer().body, "GET /half? ");
  EXPECT_TRUE(client.ended());
}

TEST(HttpServer, ClosesWhenAClientLeavesInTheMiddleOfAHeadOrABody) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  for (const char* part : {"", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"}) {
    RawClient client(server.port());
    client.send(part);
    client.shut_down();
    EXPECT_TRUE(client.ended()) << part;
  }
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
  EXPECT_TRUE(handler.answers(0).empty());
}

TEST(HttpServer, SendsNoBodyToHead) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("HEAD /long HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer(true).header("Content-Length"), "12");
  EXPECT_EQ(client.answer().body, "GET /next? ");
}

TEST(HttpServer, SendsNoBodyOfAStreamToHeadNorWith204) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest request, std::shared_ptr<Exchange> exchange) {
    HttpResponse head;
    head.status = request.path == "/204" ? 204 : 200;
    head.body = "begin";
    exchange->begin(std::move(head));
    exchange->send("more");
    exchange->finish();
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send(
      "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /204 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer(true).status, 200);
  const auto none = client.answer(true);
  EXPECT_EQ(none.status, 204);
  EXPECT_THAT(none.head, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_EQ(client.answer().body, "beginmore");
}

TEST(HttpServer, PassesOptionsForTheWholeServer) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").body, "OPTIONS *? ");
  EXPECT_EQ(client.ask("OPTIONS /v1 HTTP/1.1\r\nHost: x\r\n\r\n").body, "OPTIONS /v1? ");
}

TEST(HttpServer, SpeaksHttp10) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  const auto kept = client.ask("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.header("Connection"), "keep-alive");
  EXPECT_EQ(kept.body, "GET /kept? ");
  const auto last = client.ask("GET /last HTTP/1.0\r\n\r\n");
  EXPECT_EQ(last.header("Connection"), "close");
  EXPECT_EQ(last.body, "GET /last? ");
  EXPECT_TRUE(client.ended());
}

TEST(HttpServer, StreamsToHttp10UntilItCloses) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->begin({});
    exchange->send("a");
    exchange->send("b");
    exchange->finish();
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto head = client.read_until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Connection: close"));
  EXPECT_THAT(head, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_EQ(client.read_all(), "ab");
}

TEST(HttpServer, ClosesWhereAskedTo) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").header("Connection"), "close");
  EXPECT_TRUE(client.ended());
}

TEST(HttpServer, GivesEveryAnswerAnId) {
  TestHandler handler;
  HttpServer server(any_port(), handler);
  const auto id_for = [&](const std::string& header) {
    RawClient client(server.port());
    return client.ask("GET / HTTP/1.1\r\nHost: x\r\n" + header + "\r\n").header("X-Request-ID");
  };
  EXPECT_EQ(id_for("X-Request-ID: Abc-1_2.3\r\n"), "Abc-1_2.3");
  EXPECT_EQ(id_for("x-request-id: " + std::string(128, 'a') + "\r\n"), std::string(128, 'a'));
  const auto fresh = MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  EXPECT_THAT(id_for(""), fresh);
  EXPECT_THAT(id_for("X-Request-ID: " + std::string(129, 'a') + "\r\n"), fresh);
  EXPECT_THAT(id_for("X-Request-ID: a b\r\n"), fresh);
  EXPECT_THAT(id_for("X-Request-ID: <script>\r\n"), fresh);
  EXPECT_NE(id_for(""), id_for(""));
  EXPECT_EQ(id_for("Host: y\r\nX-Request-ID: kept\r\n"), "kept") << "on a refusal";
  RawClient broken(server.port());
  EXPECT_THAT(broken.ask("no http\r\n\r\n").header("X-Request-ID"), fresh);
}

TEST(HttpServer, LetsNoHeaderOfAnAnswerEndItsLine) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest, std::shared_ptr<Exchange> exchange) {
    HttpResponse response;
    response.headers.add("X-Note", "a\r\nSet-Cookie: b");
    exchange->respond(std::move(response));
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").header("X-Note"), "a  Set-Cookie: b");
}

TEST(HttpServer, AnswersForAHandlerThatThrowsOrForgets) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest request, std::shared_ptr<Exchange> exchange) {
    if (request.path == "/throw") throw std::runtime_error("a defect");
    if (request.path == "/cut") exchange->begin({200, "text/plain", "some", {}});
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n").status, 500);
  EXPECT_EQ(client.ask("GET /forget HTTP/1.1\r\nHost: x\r\n\r\n").status, 500);
  client.send("GET /cut HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.read_all(), Not(HasSubstr("\r\n0\r\n"))) << "a stream that breaks off must not look complete";
}

TEST(HttpServer, RunsTasksOfAnExchangeInOrder) {
  TestHandler handler;
  handler.on_handle = [](HttpRequest, std::shared_ptr<Exchange> exchange) {
    std::thread([exchange] {
      auto text = std::make_shared<std::string>();
      for (int i = 0; i < 10; ++i) exchange->post([text, i] { *text += std::to_string(i); });
      exchange->post([text, exchange] { exchange->respond({200, "text/plain", *text, {}}); });
    }).detach();
  };
  HttpServer server(any_port(), handler);
  RawClient client(server.port());
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").body, "0123456789");
}

TEST(HttpServer, ServesTwoHundredStreamsAtOnce) {
  TestHandler handler;
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> streams;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->begin({});
    const std::lock_guard lock(mutex);
    streams.push_back(std::move(exchange));
  };
  HttpServer server(any_port(), handler);
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(server.port());
    clients.back().send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  ASSERT_TRUE(eventually([&] { return server.active() == 200; }));
  while (clients.size() > 150) clients.pop_back();
  ASSERT_TRUE(eventually([&] { return server.active() == 150; }));
  for (int round = 0; round < 20; ++round) {
    for (const auto& stream : streams) stream->send("token ");
  }
  for (const auto& stream : streams) stream->finish();
  std::string expected;
  for (int round = 0; round < 20; ++round) expected += "token ";
  for (auto& client : clients) EXPECT_EQ(client.answer().body, expected);
}

TEST(HttpServer, TellsWaitingHandlersWhenItEnds) {
  TestHandler handler;
  Signal asked;
  std::atomic<bool> gone = false;
  std::shared_ptr<Exchange> held;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&] { gone = true; });
    held = std::move(exchange);
    asked.set();
  };
  RawClient client = [&] {
    HttpServer server(any_port(), handler);
    RawClient waiting(server.port());
    waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(asked.wait());
    return waiting;
  }();
  EXPECT_TRUE(gone);
  EXPECT_TRUE(client.ended());
  held->respond({});
  held->post([] { FAIL() << "nobody runs tasks any more"; });
}

TEST(HttpServer, DrainsByFinishingWhatIsUnderWay) {
  TestHandler handler;
  Signal asked;
  std::shared_ptr<Exchange> held;
  handler.on_handle = [&](HttpRequest request, std::shared_ptr<Exchange> exchange) {
    if (request.path == "/late") return exchange->respond({503});
    held = exchange;
    asked.set();
  };
  HttpServer server(any_port(), handler);
  RawClient idle(server.port()), kept(server.port()), busy(server.port());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(asked.wait());
  bool complete = false;
  std::thread draining([&] { complete = server.drain(std::chrono::seconds(30)); });
  // Until the answer in progress is complete, new requests are still answered, on kept connections too.
  RawClient late(server.port());
  for (RawClient* client : {&kept, &late}) {
    client->send("GET /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(client->answer().status, 503);
    EXPECT_TRUE(client->ended());
  }
  held->respond({});
  draining.join();
  EXPECT_TRUE(complete);
  const auto answer = busy.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(busy.ended());
  EXPECT_TRUE(idle.ended());
  EXPECT_THROW(RawClient too_late(server.port()), std::runtime_error);
}

TEST(HttpServer, DrainsNoLongerThanItMay) {
  TestHandler handler;
  Signal asked;
  std::shared_ptr<Exchange> held;
  handler.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    held = exchange;
    asked.set();
  };
  HttpServer server(any_port(), handler);
  RawClient busy(server.port());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(asked.wait());
  EXPECT_FALSE(server.drain(std::chrono::milliseconds(1)));
  EXPECT_THROW(RawClient late(server.port()), std::runtime_error);
  held->respond({});
  const auto answer = busy.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Connection"), "close");
}

}  // namespace
}  // namespace mlxk
