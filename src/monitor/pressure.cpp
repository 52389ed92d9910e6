#include <cmath>

#include "monitor/system_sampler.h"

namespace mlxk {

double pressure_level(double some_avg10, double full_avg10) {
  constexpr double kStalled = 10;  // percent
  if (full_avg10 >= kStalled) return 4;
  if (some_avg10 >= kStalled) return 2;
  return std::isnan(some_avg10) ? kUnknown : 1;
}

}  // namespace mlxk
