#pragma once

#include <optional>
#include <vector>

#include "kernels/device.h"
#include "mlx/array.h"

namespace mlxk {

/// A layer of the original transformer's encoder (https://arxiv.org/abs/1706.03762): h = norm(x + out(attention(x)))
/// and norm(h + down(act(up(h)))), each text for itself.
struct EncoderLayerOp {
  Packed qkv, out, mlp;  // as matmuls, matmul_residual and mlp take them, without norms
  NormWeights attention_norm, mlp_norm;
  int head_dim;
  float scale;  // of the scores
  Activation activation;
  std::vector<int> lengths;        // tokens of each text
  std::vector<int> attended = {};  // as in PackedAttention
};

/// The layer applied to x [tokens, hidden] by the device's own operation; nullopt if it has none.
std::optional<mx::array> encoder_layer(const mx::array& x, const EncoderLayerOp& layer);

}  // namespace mlxk
