#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// Parser of a streamed answer of an OpenAI-compatible server: the arrival times of its pieces, and its usage.
class AnswerStream {
 public:
  using Clock = std::chrono::steady_clock;

  /// Parses bytes of the body that arrived at `now`.
  void take(std::string_view bytes, Clock::time_point now);

  const std::vector<Clock::time_point>& pieces() const { return pieces_; }  // with text, reasoning or tool calls
  std::optional<int64_t> prompt_tokens() const { return prompt_tokens_; }
  std::optional<int64_t> completion_tokens() const { return completion_tokens_; }
  bool is_done() const { return done_; }               // [DONE] or a finish reason has arrived
  const std::string& error() const { return error_; }  // reported by the stream; empty: none

 private:
  void take_line(std::string_view line, Clock::time_point now);
  void take_event(std::string_view data, Clock::time_point now);

  std::string partial_;
  std::vector<Clock::time_point> pieces_;
  std::optional<int64_t> prompt_tokens_, completion_tokens_;
  bool done_ = false;
  std::string error_;
};

}  // namespace mlxk
