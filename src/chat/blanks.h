#pragma once

#include <string_view>

namespace mlxk {

/// The whitespace around the parts of an answer.
inline constexpr const char* kBlanks = " \t\r\n";

/// `text` without leading and trailing whitespace.
inline std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace mlxk
