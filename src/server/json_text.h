#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlxk {

/// Appends `text` as a JSON string; bytes that are not UTF-8 become U+FFFD. For text written with every token: a few
/// nanoseconds a byte, no tree.
void append_json_string(std::string& out, std::string_view text);

/// Appends `text` as a JSON string, or null if it is empty.
void append_json_string_or_null(std::string& out, std::string_view text);

/// Appends the shortest text that reads back as `logprob`; -9999.0 for -Infinity and NaN, as OpenAI does.
void append_json_logprob(std::string& out, float logprob);

}  // namespace mlxk
