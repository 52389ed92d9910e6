#include "transport/listener.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;
using asio::ip::tcp;

[[noreturn]] void fail(const std::string& address, const std::string& why, std::string hint = {}) {
  throw Error(ErrorKind::io, fmt::format("[serve] cannot listen on {}: {}", address, why), std::move(hint));
}

std::string in_brackets(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

// A socket file without a listener is left over from a server that was killed.
void remove_stale_socket(asio::io_context& io, const fs::path& path, const std::string& address) {
  std::error_code ec;
  const auto status = fs::symlink_status(path, ec);
  if (status.type() == fs::file_type::not_found) return;
  if (status.type() != fs::file_type::socket) fail(address, "the path exists and is not a socket");
  asio::local::stream_protocol::socket probe(io);
  error_code refused;
  probe.connect(asio::local::stream_protocol::endpoint(path.string()), refused);
  if (!refused) fail(address, "another server listens there");
  if (refused != asio::error::connection_refused) fail(address, refused.message());
  fs::remove(path, ec);
  if (ec) fail(address, ec.message());
}

}  // namespace

Listener::Listener(asio::io_context& io, const TransportOptions& options) : io_(io) {
  if (options.unix_socket.empty())
    listen_tcp(options);
  else
    listen_unix(options.unix_socket);
}

Listener::~Listener() { close(); }

void Listener::listen_tcp(const TransportOptions& options) {
  const std::string host = options.host.size() > 2 && options.host.front() == '[' && options.host.back() == ']'
                               ? options.host.substr(1, options.host.size() - 2)
                               : options.host;
  const char* scheme = options.tls_certificate.empty() ? "http" : "https";
  const auto name = [&](uint16_t port) { return fmt::format("{}://{}:{}", scheme, in_brackets(host), port); };
  error_code ec;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(host, std::to_string(options.port), tcp::resolver::passive, ec);
  if (ec) fail(name(options.port), ec.message());
  port_ = options.port;
  std::string failure = "the name has no address";
  for (const auto& entry : found) {
    tcp::endpoint endpoint(entry.endpoint().address(), port_);
    Acceptor acceptor(io_);
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    const bool every = host == "::";  // IPv4 too; elsewhere each address has its own socket
    if (!ec && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(!every), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec == asio::error::address_in_use || ec == asio::error::access_denied) {
      fail(name(options.port), ec.message(), "choose another port with --port");
    }
    if (ec) {  // some of several addresses may be unavailable: IPv6 switched off
      failure = ec.message();
      continue;
    }
    if (port_ == 0) {
      const auto bound = acceptor.local_endpoint();
      tcp::endpoint local;
      std::memcpy(local.data(), bound.data(), bound.size());
      port_ = local.port();
    }
    acceptors_.push_back(std::move(acceptor));
  }
  if (acceptors_.empty()) fail(name(options.port), failure);
  address_ = name(port_);
}

void Listener::listen_unix(const fs::path& path) {
  address_ = "unix:" + path.string();
  if (path.string().size() >= sizeof(sockaddr_un::sun_path)) {
    fail(address_,
         fmt::format("the path may have {} bytes, got {}", sizeof(sockaddr_un::sun_path) - 1, path.string().size()));
  }
  remove_stale_socket(io_, path, address_);
  error_code ec;
  const asio::local::stream_protocol::endpoint endpoint(path.string());
  Acceptor acceptor(io_);
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (ec) fail(address_, ec.message());
  // Nobody can connect before listen(), so the mode is right in time.
  struct stat made{};
  if (::chmod(path.c_str(), 0600) != 0 || ::stat(path.c_str(), &made) != 0) fail(address_, std::strerror(errno));
  file_ = path;
  device_ = made.st_dev;
  inode_ = made.st_ino;
  acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) fail(address_, ec.message());
  acceptors_.push_back(std::move(acceptor));
}

void Listener::close() {
  error_code ignored;
  for (auto& acceptor : acceptors_) acceptor.close(ignored);
  struct stat there{};
  if (!file_.empty() && ::stat(file_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_) {
    ::unlink(file_.c_str());
  }
  file_.clear();
}

std::unique_ptr<asio::ssl::context> make_tls(const TransportOptions& options) {
  if (options.tls_certificate.empty() && options.tls_key.empty()) return nullptr;
  if (options.tls_certificate.empty() || options.tls_key.empty()) {
    throw Error(ErrorKind::invalid, "[serve] TLS needs both a certificate and a key");
  }
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                   asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1 |
                   asio::ssl::context::no_compression);
  SSL_CTX_set_mode(tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  // Without a callback OpenSSL would ask at the terminal.
  tls->set_password_callback([](size_t, asio::ssl::context::password_purpose) { return std::string(); });
  error_code ec;
  tls->use_certificate_chain_file(options.tls_certificate.string(), ec);
  if (ec) {
    throw Error(ErrorKind::invalid,
                fmt::format("[serve] no PEM certificate in {}: {}", options.tls_certificate.string(), ec.message()));
  }
  tls->use_private_key_file(options.tls_key.string(), asio::ssl::context::pem, ec);
  if (ec) {
    throw Error(ErrorKind::invalid,
                fmt::format("[serve] no PEM key for the certificate in {}: {}", options.tls_key.string(), ec.message()),
                "the key must not be encrypted");
  }
  return tls;
}

std::string remote_name(const Socket& socket) {
  error_code ec;
  const auto endpoint = socket.remote_endpoint(ec);
  const int family = ec ? AF_UNSPEC : endpoint.protocol().family();
  if (family != AF_INET && family != AF_INET6) return "unix";
  tcp::endpoint remote;
  std::memcpy(remote.data(), endpoint.data(), std::min(endpoint.size(), remote.capacity()));
  return fmt::format("{}:{}", in_brackets(remote.address().to_string()), remote.port());
}

}  // namespace mlxk
