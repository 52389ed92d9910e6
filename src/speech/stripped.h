#pragma once

#include <string_view>

namespace mlxk {

/// `text` without whitespace at its ends, like Python's str.strip for ASCII.
inline std::string_view stripped(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace mlxk
