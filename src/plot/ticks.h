#pragma once

#include <vector>

namespace mlxk {

/// A scale from 0: its end and its tick marks.
struct AxisTicks {
  double top = 1;
  std::vector<double> values;
};

/// A scale that covers 0 to `largest`, with about five ticks at round numbers.
AxisTicks axis_ticks(double largest);

/// About ten round numbers between `from` and `to`.
std::vector<double> range_ticks(double from, double to);

}  // namespace mlxk
