#pragma once

#include <optional>
#include <vector>

#include "models/vision/conv_layer.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace mlxk {

/// The sizes of SAM that the tensors do not show.
struct SamConfig {
  int layers = 12, heads = 12;
  std::vector<int> global_layers = {2, 5, 8, 11};  // with attention over the whole image
};

/// Segment Anything's tower (https://arxiv.org/abs/2304.02643) as in DeepSeek-OCR: blocks over windows, some over all
/// patches, with relative positions by rows and columns; a neck of convolutions; two convolutions that halve the grid.
class Sam {
 public:
  Sam(const SamConfig& config, const WeightPath& path);
  /// Pixels [1, H, W, 3] → [1, H / stride(), W / stride(), out()].
  mx::array operator()(const mx::array& pixels, std::vector<mx::array>& stages) const;
  int out() const { return out_; }
  int stride() const { return 4 * patch_; }

 private:
  struct Block {
    int window;  // patches along a side; 0: all
    LayerNorm norm;
    std::vector<Linear> qkv;
    Linear out;
    mx::array rows, columns;  // [2 * side - 1, head_dim], a vector for each distance
    MlpResidual mlp;
  };

  Block make_block(const WeightPath& path, bool global) const;
  mx::array run(const Block& block, const mx::array& x, std::vector<mx::array>& stages) const;
  mx::array attend(const Block& block, const mx::array& h, int height, int width, std::vector<mx::array>& stages) const;

  int heads_, width_, patch_, out_ = 0;
  Conv2d patches_;
  mx::array positions_;  // [side * side, width]
  std::vector<Block> blocks_;
  std::optional<ConvLayer> narrow_, smooth_, half_, quarter_;
  std::optional<LayerNorm> narrow_norm_, smooth_norm_;
};

}  // namespace mlxk
