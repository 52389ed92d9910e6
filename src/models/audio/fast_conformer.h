#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "nn/config.h"
#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/weights.h"

namespace mlxk {

namespace mx = mlx::core;

/// The sizes of a FastConformer.
struct FastConformerConfig {
  /// From the `encoder` section of NeMo's configuration; throws bad_model or unsupported naming the key.
  static FastConformerConfig from_nemo(const Config& encoder);
  /// From the `encoder_config` of transformers' parakeet models.
  static FastConformerConfig from_transformers(const Config& encoder);

  int mels, layers, hidden, heads, inner, kernel, factor, channels;
  bool bias, depthwise, scales_input;
  int left = -1, right = -1;  // frames that attention sees on either side; -1: all
};

/// The name of an encoder's tensor of transformers, with or without `model.` before it, as NeMo's; others stay the
/// same.
std::string nemo_encoder_name(std::string name);

/// The encoder of NeMo's FastConformer (https://arxiv.org/abs/2305.05084): strided convolutions over features, then
/// blocks of feed-forward, attention with relative positions (https://arxiv.org/abs/1901.02860), convolution,
/// feed-forward. Tensors are named as in NeMo; the constructor brings those of PyTorch into MLX's order.
class FastConformer {
 public:
  FastConformer(const FastConformerConfig& c, const WeightPath& path);
  ~FastConformer();
  FastConformer(FastConformer&&) noexcept;

  /// Features [1, n, mels] → [1, frames_of(n), hidden], lazily; appends each layer's output to `stages`.
  mx::array operator()(const mx::array& features, std::vector<mx::array>& stages) const;
  int frames_of(int features) const;
  const FastConformerConfig& config() const { return c_; }

 private:
  struct Block;
  FastConformerConfig c_;
  mx::Dtype type_;
  std::vector<Conv2d> convs_;
  Linear out_;
  std::vector<Block> blocks_;
};

}  // namespace mlxk
