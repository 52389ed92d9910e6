#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlxk {

/// "1 file", "2 files", "0 files": `noun` is one whose plural takes an s.
inline std::string counted(uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace mlxk
