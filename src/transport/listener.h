#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/asio.h"
#include "transport/http_server.h"

namespace mlxk {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

/// The sockets that a server accepts on.
class Listener {
 public:
  /// Binds and listens as `options` say; throws io naming the address.
  Listener(asio::io_context& io, const TransportOptions& options);
  /// Closes them, and removes the UNIX socket's file if it is still the one created here.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::vector<Acceptor>& acceptors() { return acceptors_; }
  uint16_t port() const { return port_; }
  const std::string& address() const { return address_; }
  void close();

 private:
  void listen_tcp(const TransportOptions& options);
  void listen_unix(const std::filesystem::path& path);

  asio::io_context& io_;
  std::vector<Acceptor> acceptors_;
  uint16_t port_ = 0;
  std::string address_;
  std::filesystem::path file_;  // of the UNIX socket
  uint64_t device_ = 0, inode_ = 0;
};

/// TLS with the certificate and key of `options`; null if they name none; throws invalid.
std::unique_ptr<asio::ssl::context> make_tls(const TransportOptions& options);

/// The address of the other end: "127.0.0.1:50123", "[::1]:50123" or "unix".
std::string remote_name(const Socket& socket);

}  // namespace mlxk
