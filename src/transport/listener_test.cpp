// Kinds of addresses: TCP, UNIX sockets, TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "transport/http_server.h"
#include "transport/testing/raw_client.h"
#include "transport/testing/test_handler.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::any_port;
using testing::eventually;
using ::testing::HasSubstr;
using testing::RawClient;
using testing::Signal;
using ::testing::StartsWith;
using testing::TestHandler;

constexpr const char* kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

class Listening : public ::testing::Test {
 protected:
  Listening() {
    std::string name = (fs::temp_directory_path() / "mlxk-test-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Listening() override { fs::remove_all(folder_); }

  TransportOptions unix_socket(const std::string& name = "s") {
    TransportOptions options;
    options.unix_socket = folder_ / name;
    return options;
  }
  std::string refusal(const TransportOptions& options, ErrorKind kind = ErrorKind::io) {
    try {
      HttpServer server(options, handler_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    return "no refusal";
  }
  // A fresh key and a self-signed certificate for "localhost".
  TransportOptions with_tls() {
    auto options = any_port();
    options.tls_certificate = folder_ / "certificate.pem";
    options.tls_key = folder_ / "key.pem";
    EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    const auto* common = reinterpret_cast<const unsigned char*>("localhost");
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, common, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_sign(certificate, key, EVP_sha256());
    FILE* file = fopen(options.tls_key.c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
    file = fopen(options.tls_certificate.c_str(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return options;
  }

  fs::path folder_;
  TestHandler handler_;
};

TEST_F(Listening, NamesItsAddress) {
  HttpServer server(any_port(), handler_);
  EXPECT_GT(server.port(), 0);
  EXPECT_EQ(server.address(), "http://127.0.0.1:" + std::to_string(server.port()));
}

TEST_F(Listening, ByName) {
  auto options = any_port();
  options.host = "localhost";
  HttpServer server(options, handler_);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(kGet).status, 200);
}

TEST_F(Listening, RefusesAPortInUseAndAStrangeHost) {
  HttpServer server(any_port(), handler_);
  auto options = any_port();
  options.port = server.port();
  EXPECT_THAT(refusal(options), HasSubstr("cannot listen on http://127.0.0.1:" + std::to_string(server.port())));
  options.host = "256.0.0.1.invalid";
  EXPECT_THAT(refusal(options), HasSubstr("256.0.0.1.invalid"));
}

TEST_F(Listening, FreesItsPort) {
  auto options = any_port();
  for (int i = 0; i < 3; ++i) {
    HttpServer server(options, handler_);
    options.port = server.port();
    RawClient client(server.port());
    EXPECT_EQ(client.ask(kGet).status, 200);
  }
}

TEST_F(Listening, OnAUnixSocketOfItsOwner) {
  const auto options = unix_socket();
  {
    std::string remote;
    handler_.on_handle = [&](HttpRequest request, std::shared_ptr<Exchange> exchange) {
      remote = request.remote;
      exchange->respond({});
    };
    HttpServer server(options, handler_);
    EXPECT_EQ(server.port(), 0);
    EXPECT_EQ(server.address(), "unix:" + options.unix_socket.string());
    struct stat status{};
    ASSERT_EQ(::stat(options.unix_socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    RawClient client(options.unix_socket.string());
    EXPECT_EQ(client.ask(kGet).status, 200);
    EXPECT_EQ(remote, "unix");
    EXPECT_THAT(refusal(options), HasSubstr("another server listens there"));
    EXPECT_EQ(client.ask(kGet).status, 200) << "still there after the refusal";
  }
  EXPECT_FALSE(fs::exists(options.unix_socket));
}

TEST_F(Listening, ReplacesOnlyAStaleSocket) {
  const auto options = unix_socket();
  const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, options.unix_socket.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(left, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(left);
  {
    HttpServer server(options, handler_);
    RawClient client(options.unix_socket.string());
    EXPECT_EQ(client.ask(kGet).status, 200);
  }
  std::ofstream(options.unix_socket) << "a file";
  EXPECT_THAT(refusal(options), HasSubstr("is not a socket"));
  EXPECT_TRUE(fs::is_regular_file(options.unix_socket));
  EXPECT_THAT(refusal(unix_socket(std::string(200, 'a'))), HasSubstr("the path may have"));
  EXPECT_THAT(refusal(unix_socket("no/such/folder")), HasSubstr("cannot listen on unix:"));
}

TEST_F(Listening, LeavesASocketThatAnotherServerMade) {
  const auto options = unix_socket();
  {
    HttpServer server(options, handler_);
    fs::remove(options.unix_socket);
    std::ofstream(options.unix_socket) << "another's";
  }
  EXPECT_TRUE(fs::exists(options.unix_socket));
}

// A client that speaks TLS over a RawClient's socket.
class TlsClient {
 public:
  explicit TlsClient(uint16_t port) : raw_(port), context_(SSL_CTX_new(TLS_client_method())), tls_(SSL_new(context_)) {
    SSL_set_fd(tls_, raw_.socket());
    connected_ = SSL_connect(tls_) == 1;
  }
  ~TlsClient() {
    SSL_free(tls_);
    SSL_CTX_free(context_);
  }
  void send(const std::string& bytes) { SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size())); }
  std::string read_until(const std::string& end) {
    std::string text;
    char piece[4096];
    int count;
    while (text.find(end) == std::string::npos && (count = SSL_read(tls_, piece, sizeof piece)) > 0)
      text.append(piece, count);
    return text;
  }
  bool ended_cleanly() {
    char byte;
    return SSL_read(tls_, &byte, 1) <= 0 && (SSL_get_shutdown(tls_) & SSL_RECEIVED_SHUTDOWN) != 0;
  }
  bool connected_ = false;

 private:
  RawClient raw_;
  SSL_CTX* context_;
  SSL* tls_;
};

TEST_F(Listening, WithTls) {
  HttpServer server(with_tls(), handler_);
  EXPECT_THAT(server.address(), StartsWith("https://"));
  TlsClient client(server.port());
  ASSERT_TRUE(client.connected_);
  const std::string body(200'000, 'x');
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + body +
              "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.read_until("GET /b? "), HasSubstr("POST /a? " + body));
  client.send("GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  client.read_until("GET /c? ");
  EXPECT_TRUE(client.ended_cleanly());
}

TEST_F(Listening, WithTlsNoticesAGoneClientAndDrains) {
  Signal asked, gone;
  handler_.on_handle = [&](HttpRequest, std::shared_ptr<Exchange> exchange) {
    exchange->on_close([&gone, exchange] { gone.set(); });
    exchange->begin({200, "text/plain", "first", {}});
    asked.set();
  };
  HttpServer server(with_tls(), handler_);
  {
    TlsClient client(server.port());
    client.send(kGet);
    EXPECT_THAT(client.read_until("first"), HasSubstr("first"));
    ASSERT_TRUE(asked.wait());
  }
  EXPECT_TRUE(gone.wait());
  TlsClient idle(server.port());
  EXPECT_TRUE(server.drain(10s));
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST_F(Listening, WithTlsEndsAHandshakeThatStallsOrIsNone) {
  auto options = with_tls();
  options.header_timeout = 50ms;
  HttpServer server(options, handler_);
  RawClient plain(server.port()), silent(server.port());
  plain.send(kGet);
  plain.read_all();
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST_F(Listening, RefusesBrokenCertificates) {
  auto options = with_tls();
  options.tls_key.clear();
  EXPECT_THAT(refusal(options, ErrorKind::invalid), HasSubstr("both a certificate and a key"));
  options.tls_key = folder_ / "missing";
  EXPECT_THAT(refusal(options, ErrorKind::invalid), HasSubstr("missing"));
  options.tls_key = options.tls_certificate;
  EXPECT_THAT(refusal(options, ErrorKind::invalid), HasSubstr("no PEM key"));
  std::ofstream(options.tls_certificate) << "no certificate";
  EXPECT_THAT(refusal(options, ErrorKind::invalid), HasSubstr("no PEM certificate"));
}

}  // namespace
}  // namespace mlxk
