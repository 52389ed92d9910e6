#pragma once

#include "models/vision/vit.h"
#include "nn/conv.h"

namespace mlxk {

/// Pixtral's tower (https://arxiv.org/abs/2410.07073): images of any size, queries and keys rotated by row and column.
class PixtralTower {
 public:
  static VisionConfig read(const Config& vision);

  PixtralTower(const Config& vision, const VisionConfig& c, const WeightPath& path, int layers);
  /// Pixels [1, H, W, 3] → the first block's input and each block's output, [1, H / patch · W / patch, hidden].
  std::vector<mx::array> states(const mx::array& pixels, std::vector<mx::array>& stages) const;

 private:
  VisionConfig c_;
  double theta_;
  Conv2d patches_;
  RmsNorm norm_;
  Vit blocks_;
};

}  // namespace mlxk
