#pragma once

#include <vector>

namespace mlxk {

/// A scale from 0: where it ends, and its marks.
struct AxisTicks {
  double top = 1;
  std::vector<double> values;
};

/// A scale that holds 0 to `largest`, with about five marks at round numbers.
AxisTicks axis_ticks(double largest);

/// Round numbers between `from` and `to`, about ten.
std::vector<double> range_ticks(double from, double to);

}  // namespace mlxk
