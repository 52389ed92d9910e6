#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace mlxk::log {

enum class Level { debug, info, warn, error, off };

/// A fact beside the text: `name=value`, or a member of the JSON object. `ts`, `level` and `msg` are reserved.
struct Field {
  std::string_view name;
  std::variant<std::string, int64_t, double, bool> value;
};
using Fields = std::initializer_list<Field>;

/// Diagnostics at or above `level` go to stderr; the default is warn. Any thread.
void set_level(Level level);
bool enabled(Level level);
/// Lines of `[LEVEL] text name=value` (the default), or one JSON object each: {"ts","level","msg", fields}. Any thread.
void set_json(bool json);
/// Replaces `secret` in everything that is logged; one of fewer than 4 bytes is ignored. Any thread.
void hide(std::string secret);

void write(Level level, std::string_view text, Fields fields = {});
inline void debug(std::string_view text, Fields fields = {}) { write(Level::debug, text, fields); }
inline void info(std::string_view text, Fields fields = {}) { write(Level::info, text, fields); }
inline void warn(std::string_view text, Fields fields = {}) { write(Level::warn, text, fields); }
inline void error(std::string_view text, Fields fields = {}) { write(Level::error, text, fields); }

/// As write, but at most once in 5 seconds for each `key`; the next line counts those left out (suppressed_count).
void limited(Level level, std::string_view key, std::string_view text, Fields fields = {});

/// Returns `text` without Hugging Face tokens and hidden secrets, and with the home folder as `~`.
std::string redact(std::string_view text);

/// Returns the line that `write` prints, without the newline; `json` as in set_json, `ts` in seconds since 1970.
std::string format_line(Level level, std::string_view text, Fields fields, bool json, double ts);

}  // namespace mlxk::log
