#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "transport/exchange.h"

namespace mlxk {

/// The addresses and limits of a server.
struct TransportOptions {
  std::string host = "127.0.0.1";                  // a name or an address
  uint16_t port = 8000;                            // 0: any free one
  std::filesystem::path unix_socket;               // replaces host and port if not empty; mode 0600
  std::filesystem::path tls_certificate, tls_key;  // PEM; both or neither
  size_t max_connections = 4096;                   // more are answered with 503 and closed
  size_t max_header_bytes = 32 << 10;              // of request line and headers
  size_t max_body_bytes = 512 << 20;               // of all bodies that are being collected; more are refused with 503
  std::chrono::milliseconds header_timeout{10'000};       // for a whole head after its first byte
  std::chrono::milliseconds idle_timeout{60'000};         // between requests of a connection
  std::chrono::milliseconds body_stall_timeout{15'000};   // without a byte of body
  std::chrono::milliseconds body_timeout{300'000};        // for the whole body
  std::chrono::milliseconds write_stall_timeout{30'000};  // without the client taking a byte
  size_t max_unsent_bytes = 4 << 20;  // of a streamed answer that its client does not read; with more it is closed
};

/// An HTTP/1.1 server with one I/O thread of its own. Members may be called from any thread but that one.
class HttpServer {
 public:
  /// Binds and listens; throws Error io naming the address, or invalid for certificates. `handler` must outlive it.
  HttpServer(TransportOptions options, RequestHandler& handler);
  /// Closes every connection immediately.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The port that it listens on; 0 for a UNIX socket.
  uint16_t port() const;
  /// "http://127.0.0.1:8000", "https://…" or "unix:/path".
  std::string address() const;
  /// Open connections, and requests being answered.
  size_t connections() const;
  size_t active() const;
  /// Waits up to `patience` for the answers in progress, then accepts no more and closes idle connections. Until then
  /// the handler is called as before, so that it can refuse new requests; each answer ends its connection. Returns
  /// false if some answers were not complete in time.
  bool drain(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxk
