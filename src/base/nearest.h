#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace mlxk {

/// Returns the candidates spelled most like `word`, best first, `max` at most; none that differs in more than half of
/// its letters. For "did you mean".
std::vector<std::string_view> nearest(std::string_view word, const std::vector<std::string_view>& candidates,
                                      size_t max);

}  // namespace mlxk
