#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

/// How the end of an answer is marked.
enum class Framing { length, chunked, until_close, none };

/// The headers that the transport adds to an answer.
struct AnswerFormat {
  std::string request_id;
  bool head_only = false;  // HEAD
  bool http10 = false;
  bool keep_alive = true;
};

/// Whether an answer of `status` may have a body at all.
bool may_have_body(int status);

/// Status line and headers with the empty line. Line breaks and other control characters inside headers become spaces.
std::string response_head(const HttpResponse& response, const AnswerFormat& format, Framing framing, uint64_t length);

/// One chunk of chunked coding; `bytes` must not be empty.
std::string chunk(std::string_view bytes);

}  // namespace mlxk
