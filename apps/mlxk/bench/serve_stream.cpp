#include "bench/serve_stream.h"

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr size_t kMaxLine = size_t{16} << 20;

bool has_text(const Json& object, const char* key) { return !string_at(object, key).empty(); }

/// Whether a choice of a chat or completion contains a piece of the answer.
bool brings_piece(const Json& choice) {
  const Json& delta = value_at(choice, "delta");
  return has_text(choice, "text") || has_text(delta, "content") || has_text(delta, "reasoning_content") ||
         has_text(delta, "reasoning") || value_at(delta, "tool_calls").is_array();
}

std::optional<int64_t> count_at(const Json& object, const char* key) {
  const Json& value = value_at(object, key);
  if (!value.is_number_integer() || value.get<int64_t>() < 0) return std::nullopt;
  return value.get<int64_t>();
}

std::string error_text(const Json& error) {
  const std::string message = string_at(error, "message");
  return message.empty() ? error.dump(-1, ' ', true, Json::error_handler_t::replace) : message;
}

}  // namespace

void AnswerStream::take(std::string_view bytes, Clock::time_point now) {
  partial_ += bytes;
  size_t begin = 0;
  for (size_t end; (end = partial_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    take_line(std::string_view(partial_).substr(begin, end - begin), now);
  }
  partial_.erase(0, begin);
  if (partial_.size() > kMaxLine) throw Error(ErrorKind::network, "an event of the stream is too large");
}

void AnswerStream::take_line(std::string_view line, Clock::time_point now) {
  if (!line.starts_with("data:")) return;
  line.remove_prefix(5);
  while (line.starts_with(' ')) line.remove_prefix(1);
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (line == "[DONE]") {
    done_ = true;
  } else if (!line.empty()) {
    take_event(line, now);
  }
}

void AnswerStream::take_event(std::string_view data, Clock::time_point now) {
  Json event;
  try {
    event = parse_json(data, "event of the stream");
  } catch (const Error& error) {
    error_ = error.what();
    return;
  }
  if (const Json& error = value_at(event, "error"); !error.is_null()) error_ = error_text(error);
  if (const Json& choices = value_at(event, "choices"); choices.is_array()) {
    bool piece = false;
    for (const Json& choice : choices) {
      piece = piece || brings_piece(choice);
      done_ = done_ || value_at(choice, "finish_reason").is_string();
    }
    if (piece) pieces_.push_back(now);
  }
  const Json& usage = value_at(event, "usage");
  if (const auto count = count_at(usage, "prompt_tokens")) prompt_tokens_ = count;
  if (const auto count = count_at(usage, "completion_tokens")) completion_tokens_ = count;
}

}  // namespace mlxk
