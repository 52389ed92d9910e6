#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlxk {

/// The points that a line drawn over `columns` pixels needs: of each column the first, the last, the smallest and the
/// largest (M4, Jugel et al., VLDB 2014). Returns ascending indices; NaN is left out, but a gap keeps one, so that a
/// line breaks there. `time` is ascending and as long as `values`.
std::vector<uint32_t> decimate(std::span<const double> time, std::span<const double> values, size_t columns);

}  // namespace mlxk
