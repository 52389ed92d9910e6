#pragma once

#include <optional>
#include <vector>

#include "models/vision/vit.h"
#include "nn/config.h"
#include "nn/conv.h"

namespace mlxk {

/// The names of a block's tensors in a checkpoint, below the block.
struct UsmNames {
  const char *feed_forward1, *feed_forward2;
  const char *attention, *relative, *post;
  const char *pre_norm, *post_norm, *out_norm;
  const char* linear = nullptr;  // the matrix itself, below each clamped matrix's path
};

struct UsmConformerConfig {
  /// Reads the keys, whose names begin with `prefix` where Gemma 3n's differ. Throws bad_model or unsupported naming
  /// the key. What the models have different is left to the caller.
  static UsmConformerConfig read(const Config& audio, int hidden, const std::string& prefix);

  int hidden, layers, heads, kernel;
  int chunk, left, right;      // of attention, as the configuration has them
  int back = 0, ahead = 0;     // frames that a frame sees, before and after itself
  std::vector<int> distances;  // of the relative keys, the farthest first
  bool scales_keys = false;
  float residual, cap, limit, eps;
  Activation activation = Activation::silu;
  UsmNames names = {};
  int head_dim() const { return hidden / heads; }
};

/// The conformer blocks of Google's Universal Speech Model (https://arxiv.org/abs/2303.01037) in Gemma's encoders:
/// feed-forward, local attention with relative positions, a causal convolution, feed-forward.
class UsmConformer {
 public:
  /// Takes the blocks at path / 0 to path / (layers - 1).
  UsmConformer(const UsmConformerConfig& c, const WeightPath& path, mx::Dtype type);
  ~UsmConformer();
  /// x [1, L, hidden] → the same, lazily; appends each block's output to `stages`.
  mx::array operator()(mx::array x, std::vector<mx::array>& stages) const;

 private:
  struct Block;
  UsmConformerConfig c_;
  mx::array positions_;  // [distances, hidden]
  std::vector<Block> blocks_;
};

/// A convolution of a 3 × 3 kernel and stride 2 over frames and bands. It pads the bands, and the frames by `before` on
/// either side.
Conv2d usm_conv(const WeightPath& path, int in, int out, int before);

/// The channels of the two convolutions: the two numbers at `key`.
std::pair<int, int> usm_channels(const Config& audio, const char* key);

}  // namespace mlxk
