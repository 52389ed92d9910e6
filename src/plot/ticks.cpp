#include "plot/ticks.h"

#include <cmath>

namespace mlxk {

namespace {
/// 1, 2 or 5 times a power of ten, at least `least`.
double round_step(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}
}  // namespace

AxisTicks axis_ticks(double largest) {
  if (!(largest > 0) || !std::isfinite(largest)) largest = 1;
  const double step = round_step(largest / 5);
  AxisTicks ticks;
  const auto count = static_cast<int>(std::ceil(largest / step - 1e-9));
  for (int i = 0; i <= count; ++i) ticks.values.push_back(i * step);
  ticks.top = count * step;
  return ticks;
}

std::vector<double> range_ticks(double from, double to) {
  std::vector<double> ticks;
  if (!(to > from)) return {from};
  const double step = round_step((to - from) / 10);
  for (double i = std::ceil(from / step - 1e-9); i * step <= to + step * 1e-9; ++i) {
    ticks.push_back(i * step + 0.0);  // no -0
  }
  return ticks;
}

}  // namespace mlxk
