#pragma once

#include "models/vision/vit.h"
#include "nn/conv.h"

namespace mlxk {

/// SigLIP's tower (https://arxiv.org/abs/2303.15343): patches with learned positions, blocks, and a last norm.
class Siglip {
 public:
  /// Uses the first `layers` of its blocks; `last_norm`: whether the norm after them is applied.
  Siglip(const VisionConfig& c, const WeightPath& path, int layers, bool last_norm = true);
  /// Patches [1, rows * columns, hidden] of pixels [1, H, W, 3]: an image of the tower's own size, or with `buckets` of
  /// any size, with positions chosen by the parts of the image. Throws invalid if there are too many patches or none.
  mx::array embed(const mx::array& pixels, bool buckets) const;
  /// Runs x through blocks and norm.
  mx::array operator()(const mx::array& embedded, std::vector<mx::array>& stages) const;
  /// The embedded patches and each block's output, without the norm.
  std::vector<mx::array> states(const mx::array& embedded, std::vector<mx::array>& stages) const;

  int hidden_size() const { return c_.hidden_size; }
  int patch_size() const { return c_.patch_size; }
  int grid() const { return c_.grid(); }

 private:
  VisionConfig c_;
  Conv2d patches_;
  mx::array positions_;
  Vit blocks_;
  std::optional<LayerNorm> norm_;
};

/// Defaults of transformers' SiglipVisionConfig.
constexpr VisionDefaults kSiglipDefaults{768, 3072, 12, 12, 224, 16};

}  // namespace mlxk
