#pragma once

#include <algorithm>
#include <exception>
#include <string_view>

namespace mlxk {

/// Whether `error` reports a CUDA fault after which nothing runs on the card until the process restarts. libmlx's
/// errors contain the driver's text.
inline bool is_lost_device(const std::exception& error) {
  constexpr std::string_view kTexts[] = {"an illegal memory access was encountered", "unspecified launch failure",
                                         "the launch timed out and was terminated",  "device-side assert triggered",
                                         "uncorrectable ECC error encountered",      "misaligned address",
                                         "an illegal instruction was encountered",   "hardware stack error"};
  const std::string_view what = error.what();
  return std::any_of(std::begin(kTexts), std::end(kTexts),
                     [&](std::string_view text) { return what.find(text) != what.npos; });
}

}  // namespace mlxk
