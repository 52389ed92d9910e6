#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlxk {

/// Tokens that may come next in a text, and how many of its last tokens say so.
struct Guess {
  std::vector<int32_t> tokens;
  int matched = 0;
};

/// What followed when the end of `text` last stood in it before: the place that shares the most tokens with the end, the
/// newest of those, and up to `most` tokens behind it. Any thread.
Guess look_up(std::span<const int32_t> text, int most);

}  // namespace mlxk
