#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlxk {

/// Selects the points needed to draw a line over `columns` pixels: the first, last, smallest and largest of each column
/// (M4, Jugel et al., VLDB 2014). Returns ascending indices. Of each gap one NaN is kept, so that the line breaks
/// there. `time` is ascending and as long as `values`.
std::vector<uint32_t> decimate(std::span<const double> time, std::span<const double> values, size_t columns);

}  // namespace mlxk
