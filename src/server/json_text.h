#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlxk {

/// Appends `text` as a JSON string; what is not UTF-8 becomes U+FFFD. For what is written with every token: some
/// nanoseconds a byte, no tree.
void append_json_string(std::string& out, std::string_view text);

/// The same, or null where `text` is empty.
void append_json_string_or_null(std::string& out, std::string_view text);

/// Appends a finite number as the shortest text that reads back as it; -9999.0 for -Infinity and NaN, as OpenAI does.
void append_json_logprob(std::string& out, float logprob);

}  // namespace mlxk
