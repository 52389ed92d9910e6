#include "base/log.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

namespace mlxk::log {

namespace {

constexpr std::chrono::seconds kQuiet{5};
constexpr size_t kMaxKeys = 1024;      // of limited(); a flood of different keys must not fill memory
constexpr size_t kShortestSecret = 4;  // shorter ones would eat ordinary words
constexpr size_t kTokenLetters = 30;   // of a Hugging Face token behind "hf_"

struct State {
  std::atomic<Level> level{Level::warn};
  std::atomic<bool> json{false};
  std::mutex mutex;  // guards the members below, and stderr
  std::vector<std::string> secrets;
  struct Muted {
    std::chrono::steady_clock::time_point until;
    int64_t suppressed = 0;
  };
  std::map<std::string, Muted, std::less<>> muted;
};

State& state() {
  static auto* const instance = new State;  // threads may log until the very end
  return *instance;
}

const char* level_name(Level level) {
  switch (level) {
    case Level::debug: return "DEBUG";
    case Level::info: return "INFO";
    case Level::warn: return "WARN";
    default: return "ERROR";
  }
}

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

void hide_hub_tokens(std::string& text) {
  constexpr std::string_view kPrefix = "hf_", kShown = "[REDACTED_TOKEN]";
  for (size_t at = text.find(kPrefix); at != text.npos; at = text.find(kPrefix, at + 1)) {
    size_t end = at + kPrefix.size();
    while (end < text.size() && is_alphanumeric(text[end])) ++end;
    if (end - at - kPrefix.size() >= kTokenLetters) text.replace(at, end - at, kShown);
  }
}

/// "/home/me/x" → "~/x", but not "/home/melanie".
void hide_home(std::string& text) {
  static const std::string home = [] {
    const char* value = std::getenv("HOME");
    return std::string(value ? value : "");
  }();
  if (home.size() < 2) return;
  for (size_t at = text.find(home); at != text.npos; at = text.find(home, at + 1)) {
    const size_t end = at + home.size();
    if (end == text.size() ||
        (!is_alphanumeric(text[end]) && text[end] != '-' && text[end] != '_' && text[end] != '.')) {
      text.replace(at, home.size(), "~");
    }
  }
}

/// The length of the valid UTF-8 character that starts `text`; 0 if there is none.
size_t character_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xc2 && first < 0xe0 ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  const auto second = length > 1 ? static_cast<unsigned char>(text[1]) : 0;
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
      (first == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

/// Appends text that a client may have sent: it must not end the line, move a cursor or break the JSON.
void append_escaped(std::string& out, std::string_view text, bool json) {
  while (!text.empty()) {
    const size_t length = character_length(text);
    const char c = text[0];
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", c);
    } else if (length == 2 && c == '\xc2' &&
               static_cast<unsigned char>(text[1]) < 0xa0) {  // U+009B begins what ESC [ begins
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[1]));
    } else if (json && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
}

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  append_escaped(out, text, true);
  return out + '"';
}

std::string value_text(const Field& field, bool json) {
  if (const auto* text = std::get_if<std::string>(&field.value)) {
    const std::string shown = redact(*text);
    const bool plain = !shown.empty() && shown.find_first_of(" \"=\\") == shown.npos;
    if (json || !plain) return json_quoted(shown);
    std::string out;
    append_escaped(out, shown, false);
    return out;
  }
  if (const auto* number = std::get_if<double>(&field.value)) {
    return std::isfinite(*number) ? fmt::format("{:.6g}", *number) : "null";
  }
  if (const auto* number = std::get_if<int64_t>(&field.value)) return fmt::format("{}", *number);
  return std::get<bool>(field.value) ? "true" : "false";
}

void print(Level level, std::string_view text, Fields fields, int64_t suppressed) {
  const double ts = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  State& now = state();
  std::string line = format_line(level, text, fields, now.json, ts);
  if (suppressed > 0) {
    if (now.json) {
      line.pop_back();
      line += fmt::format(",\"suppressed_count\":{}}}", suppressed);
    } else {
      line += fmt::format(" suppressed_count={}", suppressed);
    }
  }
  line += '\n';
  const std::lock_guard lock(now.mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void set_level(Level level) { state().level = level; }
bool enabled(Level level) { return level != Level::off && level >= state().level; }
void set_json(bool json) { state().json = json; }

void hide(std::string secret) {
  if (secret.size() < kShortestSecret) return;
  const std::lock_guard lock(state().mutex);
  state().secrets.push_back(std::move(secret));
}

std::string redact(std::string_view text) {
  std::string shown(text);
  {
    const std::lock_guard lock(state().mutex);
    for (const std::string& secret : state().secrets) replace_all(shown, secret, "[REDACTED_KEY]");
  }
  hide_hub_tokens(shown);
  hide_home(shown);
  return shown;
}

std::string format_line(Level level, std::string_view text, Fields fields, bool json, double ts) {
  const std::string shown = redact(text);
  std::string line;
  if (json) {
    line = fmt::format("{{\"ts\":{:.6f},\"level\":\"{}\",\"msg\":{}", ts, level_name(level), json_quoted(shown));
    for (const Field& field : fields) line += fmt::format(",{}:{}", json_quoted(field.name), value_text(field, true));
    return line + '}';
  }
  line = fmt::format("[{}] ", level_name(level));
  append_escaped(line, shown, false);
  for (const Field& field : fields) line += fmt::format(" {}={}", field.name, value_text(field, false));
  return line;
}

void write(Level level, std::string_view text, Fields fields) {
  if (enabled(level)) print(level, text, fields, 0);
}

void limited(Level level, std::string_view key, std::string_view text, Fields fields) {
  if (!enabled(level)) return;
  int64_t suppressed = 0;
  {
    State& now = state();
    const std::lock_guard lock(now.mutex);
    const auto time = std::chrono::steady_clock::now();
    const auto it = now.muted.find(key);
    if (it != now.muted.end() && time < it->second.until) {
      ++it->second.suppressed;
      return;
    }
    if (it != now.muted.end()) {
      suppressed = it->second.suppressed;
      it->second = {time + kQuiet, 0};
    } else {
      if (now.muted.size() >= kMaxKeys) now.muted.clear();
      now.muted.emplace(key, State::Muted{time + kQuiet, 0});
    }
  }
  print(level, text, fields, suppressed);
}

}  // namespace mlxk::log
