#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlxk {

/// Header fields in order; names compare without case.
class HeaderList {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  /// The first value of `name`; nullopt if absent.
  std::optional<std::string_view> find(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// Takes a body in pieces as it arrives. On the I/O thread; must not block.
class BodySink {
 public:
  virtual ~BodySink() = default;
  /// Throws Error to refuse the rest.
  virtual void take(std::string_view bytes) = 0;
};

/// A request as parsed by the transport.
struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // without query, percent-decoded, valid UTF-8 without NUL, "." and ".." segments refused
  std::string query;   // as sent, without '?'
  HeaderList headers;
  std::string body;                          // empty if plan() returned a sink:
  std::shared_ptr<BodySink> sink = nullptr;  // that sink, once it has the whole body
  std::string id;                            // X-Request-ID: a valid incoming one, else a fresh UUID
  std::string remote;                        // "127.0.0.1:50123", or "unix"
};

/// A whole answer, or the head of a streamed one. Content-Length, Date, X-Request-ID and connection fields are the
/// transport's.
struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HeaderList headers;
};

/// Takes the messages of a WebSocket. On the I/O thread; must not block or throw.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  virtual void take(std::string message) = 0;
  /// The server drains and waits for this socket: finish it soon.
  virtual void drain() = 0;
};

/// A WebSocket that a handler opens.
struct WebSocketPlan {
  std::shared_ptr<MessageSink> sink;
  std::string protocol = {};                        // the subprotocol that the server chose; empty: none
  HeaderList headers = {};                          // of the answer to the handshake
  size_t max_message_bytes = 16 << 20;              // a longer message ends the socket
  std::chrono::milliseconds idle_timeout{300'000};  // without a whole message from the client
  std::chrono::milliseconds total_timeout{3'600'000};
};

/// One request being answered. Every member may be called from any thread; calls after the client has gone have no
/// effect.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const std::string& request_id() const = 0;
  /// Answers as a whole; once.
  virtual void respond(HttpResponse response) = 0;
  /// Begins a streamed answer (chunked); `head.body` is its first bytes.
  virtual void begin(HttpResponse head) = 0;
  /// More bytes of a streamed answer; queued, never blocks.
  virtual void send(std::string bytes) = 0;
  /// Ends a streamed answer.
  virtual void finish() = 0;
  /// Opens a WebSocket as the answer to a request for which websocket_problem() found none. From then on send() sends a
  /// message of text and finish() closes the socket after the messages before it.
  virtual void upgrade(WebSocketPlan plan) = 0;
  /// Bytes that were sent but not yet written to the client.
  virtual size_t unsent_bytes() const = 0;
  /// Whether the client has gone.
  virtual bool closed() const = 0;
  /// Calls `gone` on the I/O thread if the client goes before the answer is complete; immediately if it has gone
  /// already.
  virtual void on_close(std::function<void()> gone) = 0;
  /// Runs `task` on the I/O thread, in order with other tasks of this exchange.
  virtual void post(std::function<void()> task) = 0;
};

/// The plan for a request whose head is complete, decided before a byte of its body is read.
struct BodyPlan {
  std::optional<HttpResponse> refusal;  // answered immediately; the body is not read
  size_t limit = 0;                     // most bytes of body; more is refused with 413
  std::shared_ptr<BodySink> sink;       // null: the body is collected in HttpRequest::body
};

/// What a server does with requests. Its members are called on the I/O thread; they must not block or throw.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  /// The head is complete: `head` has no body yet.
  virtual BodyPlan plan(const HttpRequest& head) = 0;
  /// The whole request has arrived. `exchange` answers it, now or later.
  virtual void handle(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  /// The transport itself refuses: broken HTTP, a limit, a time-out. Returns the answer's body and type for `status`.
  virtual HttpResponse refusal(int status, std::string_view message, const std::string& request_id) = 0;
  /// An answer is complete, or its client has gone (`bytes`, including heads, were written until then; status 499: the
  /// answer had not begun). Also called for refusals, with a `head` that may be empty except for its id. For access
  /// logs and metrics.
  virtual void answered(const HttpRequest& head, int status, size_t bytes, double seconds) = 0;
};

}  // namespace mlxk
