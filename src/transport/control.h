#pragma once

#include <algorithm>
#include <string_view>

namespace mlxk {

/// Whether `text` holds a control character of ASCII.
inline bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace mlxk
