#include "backend/speculation.h"

#include <algorithm>

namespace mlxk {

namespace {

// A longer match says no more.
constexpr size_t kLongestMatch = 8;

}  // namespace

// Read from end to end each time: far cheaper than a step that attends to as many tokens.
Guess look_up(std::span<const int32_t> text, int most) {
  if (text.size() < 2 || most < 1) return {};
  const int32_t last = text.back();
  size_t longest = 0, behind = 0;
  for (size_t end = text.size() - 1; end > longest && longest < kLongestMatch; --end) {
    if (text[end - 1] != last) continue;
    size_t matched = 1;
    while (matched < std::min(end, kLongestMatch) && text[end - 1 - matched] == text[text.size() - 1 - matched]) ++matched;
    if (matched <= longest) continue;
    longest = matched;
    behind = end;
  }
  if (longest == 0) return {};
  const auto next = text.subspan(behind, std::min(static_cast<size_t>(most), text.size() - behind));
  return {{next.begin(), next.end()}, static_cast<int>(longest)};
}

}  // namespace mlxk
