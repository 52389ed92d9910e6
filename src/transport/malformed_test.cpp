// Requests that no honest client sends: each gets a clear refusal or a closed connection, and the next client is
// served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/http_server.h"
#include "transport/testing/raw_client.h"
#include "transport/testing/test_handler.h"

namespace mlxk {
namespace {

using testing::any_port;
using ::testing::HasSubstr;
using testing::RawClient;
using testing::TestHandler;

class Malformed : public ::testing::Test {
 protected:
  // The status of the first answer; the server must close after it, and must not have handled anything.
  int status_of(const std::string& bytes) {
    RawClient client(server_.port());
    client.send(bytes);
    const auto answer = client.answer();
    body_ = answer.body;
    EXPECT_EQ(answer.header("Connection"), "close") << bytes.substr(0, 200);
    EXPECT_FALSE(answer.header("X-Request-ID").empty());
    EXPECT_TRUE(client.ended()) << bytes.substr(0, 200);
    return answer.status;
  }
  int status_of_head(const std::string& headers) { return status_of("POST / HTTP/1.1\r\n" + headers + "\r\n"); }
  int status_of_body(const std::string& body) {
    return status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body);
  }
  void TearDown() override {
    RawClient client(server_.port());
    EXPECT_EQ(client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    EXPECT_EQ(handled_, 1) << "a malformed request came through";
  }

  TestHandler handler_;
  int handled_ = 0;
  std::string body_;
  TransportOptions options_ = any_port();
  HttpServer server_ = [this] {
    handler_.on_handle = [this](HttpRequest, std::shared_ptr<Exchange> exchange) {
      ++handled_;
      exchange->respond({200, "text/plain", "handled", {}});
    };
    return HttpServer(options_, handler_);
  }();
};

TEST_F(Malformed, LengthBesideChunks) {
  EXPECT_EQ(status_of_head("Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(status_of_head("Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
}

TEST_F(Malformed, LengthsThatCanBeReadInTwoWays) {
  EXPECT_EQ(status_of_head("Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n"), 400);
  EXPECT_EQ(status_of_head("Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n"), 400);
  for (const char* length : {"5, 5", "+5", "-5", "0x5", "5 5", "", "18446744073709551616", "99999999999999999999999"}) {
    EXPECT_EQ(status_of_head(std::string("Host: x\r\nContent-Length: ") + length + "\r\n"), 400) << length;
  }
}

TEST_F(Malformed, EncodingsOtherThanChunked) {
  for (const char* coding : {"gzip, chunked", "chunked, gzip", "identity", "xchunked", "\"chunked\"", "chunked;q=1"}) {
    EXPECT_EQ(status_of_head(std::string("Host: x\r\nTransfer-Encoding: ") + coding + "\r\n"), 501) << coding;
  }
  EXPECT_EQ(status_of_head("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(status_of_head("Host: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST_F(Malformed, CompressedBodies) {
  for (const char* coding : {"gzip", "deflate", "br", "GZIP", "identity, gzip"}) {
    EXPECT_EQ(status_of_head(std::string("Host: x\r\nContent-Length: 3\r\nContent-Encoding: ") + coding + "\r\n"), 415);
  }
}

TEST_F(Malformed, Hosts) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
}

TEST_F(Malformed, RequestLines) {
  EXPECT_EQ(status_of("GET /\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1 \r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status_of("GET / HTTP/1.2\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(status_of("G(T / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of(" GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET * HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("\x16\x03\x01\x02\x00", 5)), 400) << "TLS at a plain port";
}

TEST_F(Malformed, Headers) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost : x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"), 400) << "folded";
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n Host: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\nHost: x\n\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 33)), 400);
  EXPECT_EQ(status_of_head("Host: x\r\nExpect: tea\r\n"), 417);
}

TEST_F(Malformed, TargetsThatLeaveOrHide) {
  for (const char* target : {"/a/../b",       "/..",     "/a/./b", "/%2e%2e/b", "/a/%2E/b", "/a%2f..%2fb", "/%00",
                             "/a%0d%0ab",     "/%",      "/%4",    "/%zz",      "/%ff",     "/%c0%af",     "/%ed%a0%80",
                             "/%f4%90%80%80", "/%e2%82", "/a#b",   "relative",  "//../x",   "/x\x7f"}) {
    EXPECT_EQ(status_of(std::string("GET ") + target + " HTTP/1.1\r\nHost: x\r\n\r\n"), 400) << target;
    EXPECT_FALSE(body_.empty());
  }
}

TEST_F(Malformed, TooMuchHead) {
  const std::string much(options_.max_header_bytes, 'a');
  EXPECT_EQ(status_of("GET /" + much + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nA: " + much + "\r\n\r\n"), 431);
  std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 101; ++i) many += "A: b\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 431);
}

TEST_F(Malformed, HeadersThatMayStandThereOnce) {
  for (const char* name :
       {"Content-Type", "content-type", "Authorization", "X-API-Key", "Origin", "Content-Encoding"}) {
    const std::string line = std::string(name) + ": x\r\n";
    EXPECT_EQ(status_of_head("Host: x\r\n" + line + line), 400) << name;
    EXPECT_THAT(body_, HasSubstr("occurs twice"));
  }
}

TEST_F(Malformed, Chunks) {
  for (const char* body :
       {"xyz\r\n", "-1\r\n", "5 \r\nhello\r\n", "5\r\nhelloXXXX", "5\nhello\r\n0\r\n\r\n", "ffffffffffffffffff\r\n",
        "\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5;\x01=\r\nhello\r\n0\r\n\r\n"}) {
    EXPECT_EQ(status_of_body(body), 400) << body;
  }
  EXPECT_EQ(status_of_body("0\r\nno trailer\r\n\r\n"), 400);
}

TEST_F(Malformed, ChunksOutOfProportion) {
  EXPECT_EQ(status_of_body("5;" + std::string(200'000, 'a')), 400);
  std::string crumbs;
  for (int i = 0; i < 5'000; ++i) crumbs += "1;" + std::string(40, 'a') + "\r\nx\r\n";
  EXPECT_EQ(status_of_body(crumbs), 400);
  EXPECT_EQ(status_of_body("ffffffff\r\n" + std::string(2 << 20, 'x')), 413);
}

TEST_F(Malformed, SmuggledRequestBehindAShortBody) {
  RawClient client(server_.port());
  client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
      "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer().status, 400);
  EXPECT_TRUE(client.ended());
}

}  // namespace
}  // namespace mlxk
