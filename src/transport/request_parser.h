#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

/// Why the transport refuses a request; status 0: it does not.
struct Refusal {
  int status = 0;
  std::string message;
  explicit operator bool() const { return status != 0; }
};

/// Where the head ends in the bytes that arrived so far.
struct HeadEnd {
  size_t size = 0;      // of the head with its empty line; 0: incomplete
  std::string problem;  // invalid HTTP in the head, reported as soon as it is seen
};

/// Looks for the end of a head in `bytes`, of which the first `seen` were searched before.
HeadEnd find_head_end(std::string_view bytes, size_t seen);

/// A request's head.
struct RequestHead {
  HttpRequest request;  // without body and remote; always with an id
  Refusal refusal;
  bool http10 = false;
  bool keep_alive = false;
  bool expects_continue = false;
  bool has_body = false;
  std::optional<uint64_t> content_length;  // nullopt: chunked, or no body
};

/// The destination of a body.
struct BodyTarget {
  size_t limit = 0;
  BodySink* sink = nullptr;          // null: into `collected`
  std::string* collected = nullptr;  // null beside a null sink: dropped
  size_t* room = nullptr;            // the remaining memory for all of a server's collected bodies; null: unlimited
  size_t size = 0;                   // bytes so far
  Refusal refusal;                   // too large, or refused by the sink
};

/// Parses one request. HTTP's grammar is Beast's; ambiguous requests that Beast accepts are refused here.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Parses a whole head, as found by find_head_end. Once.
  RequestHead read_head(std::string_view head);
  /// Sets the destination of the body's bytes; call it before read_body. `target` must outlive the parser.
  void set_target(BodyTarget* target);
  /// Consumes bytes of the body and returns their number; pass the rest again with more after it.
  size_t read_body(std::string_view bytes);
  /// Whether the body is complete.
  bool done() const;
  /// The error of the body, including its target's.
  const Refusal& refusal() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxk
