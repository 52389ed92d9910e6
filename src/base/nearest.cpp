#include "base/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mlxk {

namespace {

/// The Levenshtein distance.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

size_t common_start(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

std::vector<std::string_view> nearest(std::string_view word, const std::vector<std::string_view>& candidates,
                                      size_t max) {
  constexpr size_t kLongest = 128;  // words from outside may be of any length
  word = word.substr(0, kLongest);
  std::vector<std::pair<double, std::string_view>> ranked;
  for (const std::string_view candidate : candidates) {
    const size_t length = std::max(word.size(), candidate.size());
    if (length == 0) continue;
    // A common prefix counts twice: model families share it (qwen3, qwen3_moe).
    const double share = static_cast<double>(edits(word, candidate)) / static_cast<double>(length);
    const double start = static_cast<double>(common_start(word, candidate)) / static_cast<double>(length);
    if (share <= 0.5 || start >= 0.5) ranked.emplace_back(share - start, candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string_view> found;
  for (const auto& [rank, candidate] : ranked) {
    if (found.size() < max) found.push_back(candidate);
  }
  return found;
}

}  // namespace mlxk
