#pragma once

#include <poll.h>

#include <memory>
#include <utility>

#include "transport/asio.h"

namespace mlxk {

/// A connected socket, with or without TLS. Handlers are called by Asio's rules, on the I/O thread.
class Wire {
 public:
  Wire(Socket socket, asio::ssl::context* tls) : socket_(std::move(socket)) {
    if (tls) tls_ = std::make_unique<asio::ssl::stream<Socket&>>(socket_, *tls);
  }
  bool has_tls() const { return tls_ != nullptr; }

  template <class Handler>
  void handshake(Handler handler) {
    tls_->async_handshake(asio::ssl::stream_base::server, std::move(handler));
  }
  template <class Handler>
  void read_some(asio::mutable_buffer buffer, Handler handler) {
    if (tls_)
      tls_->async_read_some(buffer, std::move(handler));
    else
      socket_.async_read_some(buffer, std::move(handler));
  }
  template <class Buffers, class Handler>
  void write_some(const Buffers& buffers, Handler handler) {
    if (tls_)
      tls_->async_write_some(buffers, std::move(handler));
    else
      socket_.async_write_some(buffers, std::move(handler));
  }
  /// Whether the other side has closed; known without reading only on Linux.
  bool peer_gone() {
#ifdef POLLRDHUP
    pollfd state{socket_.native_handle(), POLLRDHUP, 0};
    return ::poll(&state, 1, 0) > 0;
#else
    return false;
#endif
  }
  /// Tells the other side that no more data follows.
  template <class Handler>
  void say_goodbye(Handler handler) {
    error_code ignored;
    if (tls_)
      tls_->async_shutdown(std::move(handler));
    else
      socket_.shutdown(Socket::shutdown_send, ignored);
  }
  /// Closes immediately; pending bytes are dropped.
  void reset() {
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
  }
  void close() {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  Socket socket_;
  std::unique_ptr<asio::ssl::stream<Socket&>> tls_;
};

}  // namespace mlxk
