#pragma once

#include "models/vision/vit.h"
#include "nn/conv.h"

namespace mlxk {

/// CLIP's tower (https://arxiv.org/abs/2103.00020): a class vector before the patches, learned positions, a norm, and
/// blocks.
class Clip {
 public:
  /// Uses the first `layers` of its blocks.
  Clip(const VisionConfig& c, const WeightPath& path, int layers);
  /// Pixels [1, image_size, image_size, 3] → the first block's input and each block's output, each [1, 1 + patches,
  /// hidden]. Throws invalid for another size.
  std::vector<mx::array> states(const mx::array& pixels, std::vector<mx::array>& stages) const;

 private:
  VisionConfig c_;
  mx::array class_;  // [hidden]
  Conv2d patches_;
  mx::array positions_;  // [1 + patches, hidden]
  LayerNorm norm_;
  Vit blocks_;
};

/// Defaults of transformers' CLIPVisionConfig.
constexpr VisionDefaults kClipDefaults{768, 3072, 12, 12, 224, 32, "quick_gelu", 1e-5};

}  // namespace mlxk
