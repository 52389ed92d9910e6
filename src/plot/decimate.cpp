#include "plot/decimate.h"

#include <algorithm>
#include <cmath>

namespace mlxk {

std::vector<uint32_t> decimate(std::span<const double> time, std::span<const double> values, size_t columns) {
  std::vector<uint32_t> kept;
  const size_t count = values.size();
  if (count <= 4 * columns) {
    for (size_t i = 0; i < count; ++i) kept.push_back(static_cast<uint32_t>(i));
    return kept;
  }
  const double start = time.front(), width = (time.back() - start) / static_cast<double>(columns);
  for (size_t begin = 0; begin < count;) {
    const auto column = [&](size_t i) { return width > 0 ? std::floor((time[i] - start) / width) : 0; };
    size_t end = begin + 1;
    while (end < count && column(end) == column(begin)) ++end;
    // The first, last, smallest and largest of the column, and one of its gaps.
    constexpr size_t kNone = SIZE_MAX;
    size_t first = kNone, last = kNone, low = kNone, high = kNone, gap = kNone;
    for (size_t i = begin; i < end; ++i) {
      if (std::isnan(values[i])) {
        gap = i;
        continue;
      }
      if (first == kNone) first = low = high = i;
      last = i;
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
    }
    size_t chosen[] = {first, last, low, high, gap};
    std::sort(std::begin(chosen), std::end(chosen));
    for (size_t i = 0; i < std::size(chosen) && chosen[i] != kNone; ++i) {
      if (i == 0 || chosen[i] != chosen[i - 1]) kept.push_back(static_cast<uint32_t>(chosen[i]));
    }
    begin = end;
  }
  return kept;
}

}  // namespace mlxk
