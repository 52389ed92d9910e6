#include "cpu/rotation.h"

#include <cmath>

#include "cpu/threads.h"

namespace mlxk {

std::vector<int> consecutive_positions(const std::vector<int>& first, int64_t length) {
  std::vector<int> positions;
  positions.reserve(first.size() * static_cast<size_t>(length));
  for (const int p : first) {
    for (int i = 0; i < length; ++i) positions.push_back(p + i);
  }
  return positions;
}

CosSinTable cos_sin_table(const Rotation& rotation, const std::vector<int>& positions, int64_t batch, int64_t length) {
  struct Table {
    Rotation rotation;
    std::vector<int> positions;
    std::vector<float> values;
    int64_t length = 0;
  };
  static Table tables[2];  // models with local and global layers alternate between two
  static int newest = 0;
  const int64_t pairs = rotation.pairs(), tokens = batch * length;
  for (auto& table : tables) {
    const Rotation& r = table.rotation;
    if (table.length == length && r.traditional == rotation.traditional && r.rows == rotation.rows &&
        r.input_scale == rotation.input_scale && table.positions == positions && r.steps == rotation.steps &&
        r.axes == rotation.axes) {
      return {table.values.data(), pairs};
    }
  }
  Table& table = tables[newest = 1 - newest];
  table.rotation = rotation;
  table.positions = positions;
  table.length = length;
  table.values.resize(static_cast<size_t>(tokens * pairs * 4));
  parallel_for(tokens, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* steps = rotation.steps.data() + (rotation.rows == 1 ? 0 : t / length * pairs);
      float *cosines = table.values.data() + t * 4 * pairs, *sines = cosines + 2 * pairs;
      for (int64_t i = 0; i < pairs; ++i) {
        const int64_t axis = rotation.axes.empty() ? 0 : rotation.axes[static_cast<size_t>(i)];
        const float angle = static_cast<float>(positions[static_cast<size_t>(axis * tokens + t)]) * steps[i];
        const int64_t first = rotation.traditional ? 2 * i : i, second = rotation.traditional ? 2 * i + 1 : i + pairs;
        cosines[first] = cosines[second] = std::cos(angle) * rotation.input_scale;
        sines[second] = std::sin(angle) * rotation.input_scale;
        sines[first] = -sines[second];
      }
    }
  });
  return {table.values.data(), pairs};
}

}  // namespace mlxk
