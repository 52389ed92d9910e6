#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

/// Why the transport itself does not go on with a request; status 0: it does.
struct Refusal {
  int status = 0;
  std::string message;
  explicit operator bool() const { return status != 0; }
};

/// Where the head ends in the bytes that arrived so far.
struct HeadEnd {
  size_t size = 0;      // of the head with its empty line; 0: not there yet
  std::string problem;  // what in it can be no HTTP, said as soon as it is seen
};

/// Looks for the end of a head in `bytes`, of which the first `seen` were looked at before.
HeadEnd find_head_end(std::string_view bytes, size_t seen);

/// A request's head.
struct RequestHead {
  HttpRequest request;  // without body and remote; with an id in any case
  Refusal refusal;
  bool http10 = false;
  bool keep_alive = false;
  bool expects_continue = false;
  bool has_body = false;
  std::optional<uint64_t> content_length;  // nullopt: chunked, or no body
};

/// Where a body goes.
struct BodyTarget {
  size_t limit = 0;
  BodySink* sink = nullptr;          // null: into `collected`
  std::string* collected = nullptr;  // null beside a null sink: dropped
  size_t* room = nullptr;            // what all of a server's collected bodies may still take; null: no bound
  size_t size = 0;                   // bytes so far
  Refusal refusal;                   // too large, or by the sink
};

/// Reads one request. HTTP's grammar is Beast's; what Beast lets through and could be read in two ways is refused here.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Reads a whole head, as find_head_end found it. Once.
  RequestHead read_head(std::string_view head);
  /// Where the body's bytes go; before read_body. `target` must outlive the parser.
  void set_target(BodyTarget* target);
  /// Takes bytes of the body and says how many it used; the rest must be given again with more behind it.
  size_t read_body(std::string_view bytes);
  /// Whether the body is complete.
  bool done() const;
  /// What is wrong with the body, also what its target says.
  const Refusal& refusal() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxk
