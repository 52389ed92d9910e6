#pragma once

#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// Which numbers of a head are rotated as a pair.
enum class Pairing {
  halves,      // i and i + head_dim / 2
  neighbours,  // 2 i and 2 i + 1
  quarters,    // i and i + head_dim / 4 within each half of the head
};

/// Rotates the queries and keys of patches by their place in the image.
class PatchRotation {
 public:
  /// `angles` [patches, head_dim / 2]: one per pair of a head, in the order of the pairs' first numbers.
  PatchRotation(const std::vector<float>& angles, int patches, Pairing pairing);
  mx::array operator()(const mx::array& x, int head_dim) const;  // [1, patches, heads * head_dim] → the same

 private:
  mx::array cos_, sin_;  // [1, patches, 1, head_dim / 2]
  Pairing pairing_;
};

/// A patch's place.
struct PatchPlace {
  int row, column;
};

/// The places of a grid, row by row.
std::vector<PatchPlace> grid_places(int rows, int columns);
/// The places of a grid in blocks of merge × merge, row by row within the block and among the blocks; both sides are
/// multiples of `merge`.
std::vector<PatchPlace> merged_places(int rows, int columns, int merge);

/// Angles of Qwen's towers and GLM-4V's: the first quarter of the head is rotated by row, the second by column, both
/// with the frequencies theta^(-4 i / head_dim).
std::vector<float> split_angles(const std::vector<PatchPlace>& places, int head_dim, double theta);

}  // namespace mlxk
