#pragma once

#include <cstdint>
#include <vector>

namespace mlxk {

/// The rotation of heads by position: pair i is rotated by steps[i] radians a token.
struct Rotation {
  std::vector<float> steps;    // of the first 2 * pairs() numbers of a head; empty: no rotation
  float input_scale = 1;       // scales those numbers
  bool traditional = false;    // pairs of neighbours instead of halves
  int rows = 1;                // sequences with their own steps, one after the other in `steps`; 1: all have the same
  std::vector<int> axes = {};  // positions have three axes: the axis of each pair; empty: one axis

  int64_t pairs() const { return static_cast<int64_t>(steps.size()) / rows; }
};

/// The cosines and signed sines of tokens, as CpuKernels::rotate reads them: 2 * pairs of each.
struct CosSinTable {
  const float* values;
  int64_t pairs;
  const float* cosines(int64_t token) const { return values + token * 4 * pairs; }
  const float* sines(int64_t token) const { return cosines(token) + 2 * pairs; }
};

/// The positions [batch, length] of rows whose first tokens are at `first`.
std::vector<int> consecutive_positions(const std::vector<int>& first, int64_t length);

/// The rotations of batch * length tokens at `positions` ([axes, batch, length]); kept for the next layers, which ask
/// for the same. Runs on all kernel threads; call it from one thread at a time.
CosSinTable cos_sin_table(const Rotation& rotation, const std::vector<int>& positions, int64_t batch, int64_t length);

}  // namespace mlxk
