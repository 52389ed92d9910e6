#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace mlxk {

/// `count` normally distributed values, the same for the same `seed`.
inline std::vector<float> random_floats(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (auto& v : values) v = normal(random);
  return values;
}

}  // namespace mlxk
