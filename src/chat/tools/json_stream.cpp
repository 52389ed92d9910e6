#include "chat/tools/json_stream.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "json/json.h"

namespace mlxk {

namespace {
constexpr size_t kMaxJsonDepth = 64;
constexpr std::string_view kReplacement = "\\ufffd";

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_literal(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.'; }
}  // namespace

void JsonStream::give(std::string& out) {
  out += pending_;
  pending_.clear();
  started_ = true;
}

bool JsonStream::begin_value(char c, std::string& out) {
  first_item_ = false;
  if (c == '"') {
    pending_ += c;
    give(out);
    is_key_ = false;
    place_ = Place::string;
  } else if (c == '{' || c == '[') {
    if (open_.size() == kMaxJsonDepth) return false;
    open_ += c;
    pending_ += c;
    give(out);
    place_ = c == '{' ? Place::first_key : Place::value;
    first_item_ = c == '[';
  } else if (is_literal(c)) {
    literal_ = c;
    place_ = Place::literal;
  } else {
    return false;
  }
  return true;
}

bool JsonStream::end_literal(std::string& out) {
  if (!Json::accept(literal_)) return false;
  pending_ += literal_;
  literal_.clear();
  give(out);
  place_ = Place::after;
  done_ = open_.empty();
  return true;
}

bool JsonStream::in_string(char c, std::string& out) {
  std::string& text = is_key_ ? pending_ : out;
  const auto lone_half = [&] {
    if (!high_.empty()) text += kReplacement;
    high_.clear();
  };
  if (!escape_.empty()) {  // holds at least the backslash
    escape_ += c;
    if (escape_[1] != 'u') {
      if (std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) return false;
      lone_half();
      text += std::exchange(escape_, {});
      return true;
    }
    if (escape_.size() > 2 && !std::isxdigit(static_cast<unsigned char>(c))) return false;
    if (escape_.size() < 6) return true;
    const long unit = std::strtol(escape_.c_str() + 2, nullptr, 16);
    const std::string whole = std::exchange(escape_, {});
    if (unit >= 0xDC00 && unit < 0xE000) {
      text += high_.empty() ? std::string(kReplacement) : high_ + whole;
      high_.clear();
      return true;
    }
    lone_half();
    if (unit >= 0xD800 && unit < 0xDC00) {
      high_ = whole;
    } else {
      text += whole;
    }
    return true;
  }
  if (c == '\\') {
    escape_ = c;
    return true;
  }
  lone_half();
  if (c == '"') {
    text += c;
    place_ = is_key_ ? Place::colon : Place::after;
    done_ = !is_key_ && open_.empty();
  } else if (static_cast<unsigned char>(c) < 0x20) {
    text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  } else {
    text += c;
  }
  return true;
}

bool JsonStream::take(char c, std::string& out) {
  if (place_ == Place::string) return in_string(c, out);
  if (place_ == Place::literal) {
    literal_ += c;
    return literal_.size() <= 256;
  }
  if (is_blank(c)) {
    pending_ += c;
    return true;
  }
  switch (place_) {
    case Place::value:
      if (c != ']' || !first_item_) return begin_value(c, out);
      break;  // an empty list
    case Place::first_key:
    case Place::key:
      if (c == '"') {
        pending_ += c;
        is_key_ = true;
        place_ = Place::string;
        return true;
      }
      if (c != '}' || place_ == Place::key) return false;
      break;  // an empty object
    case Place::colon:
      pending_ += c;
      place_ = Place::value;
      return c == ':';
    default:
      if (c == ',') {
        pending_ += c;
        place_ = open_.back() == '{' ? Place::key : Place::value;
        return true;
      }
      break;
  }
  if (c != (open_.back() == '{' ? '}' : ']')) return false;
  open_.pop_back();
  first_item_ = false;
  pending_ += c;
  give(out);
  place_ = Place::after;
  done_ = open_.empty();
  return true;
}

CallReader::State JsonStream::read(TextFeed& feed, std::string& out) {
  while (!done_) {
    const std::string_view rest = feed.rest();
    if (rest.empty()) {
      if (place_ == Place::literal && open_.empty() && feed.finished()) {
        return end_literal(out) ? CallReader::State::done : CallReader::State::broken;
      }
      return CallReader::State::more;
    }
    if (place_ == Place::literal && !is_literal(rest[0])) {
      if (!end_literal(out)) return CallReader::State::broken;
      continue;
    }
    if (!take(rest[0], out)) return CallReader::State::broken;
    feed.skip(1);
  }
  return CallReader::State::done;
}

std::string JsonStream::closing() const {
  if (done_) return "";
  if (!started_) return "null";
  std::string out;
  if (place_ == Place::string && !is_key_) out += (high_.empty() ? "" : std::string(kReplacement)) + "\"";
  // A key is not passed on without its value, nor a comma without the next element.
  for (auto open = open_.rbegin(); open != open_.rend(); ++open) out += *open == '{' ? '}' : ']';
  return out;
}

}  // namespace mlxk
