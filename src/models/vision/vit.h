#pragma once

#include <optional>
#include <vector>

#include "models/text/block.h"
#include "models/vision/rope_2d.h"
#include "models/vision/vision_config.h"
#include "nn/attention.h"
#include "nn/encoder_attention.h"
#include "nn/mlp.h"

namespace mlxk {

/// The block of vision transformers (https://arxiv.org/abs/2010.11929), norm before attention and before the MLP, in
/// all its variants: the differences between families are rows of VitOptions.

/// The names of a block's tensors in a checkpoint; nullptr: there are none; "": the block itself.
struct VitNames {
  const char *norm1 = "layer_norm1", *norm2 = "layer_norm2";
  const char *post_norm1 = nullptr, *post_norm2 = nullptr;  // after attention and MLP, before the residual is added
  const char* attention = "self_attn";
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *out = "out_proj";
  const char* qkv = nullptr;  // one matrix in place of q, k and v
  const char *q_norm = nullptr, *k_norm = nullptr;
  const char* mlp = "mlp";
  const char *fc1 = "fc1", *fc2 = "fc2";
  const char *gate = nullptr, *up = "up_proj", *down = "down_proj";  // a gated MLP, in place of fc1 and fc2
  // [hidden], or with VitOptions::gates one number, multiplied onto the output of attention and MLP
  const char *scale1 = nullptr, *scale2 = nullptr;
};

struct VitOptions {
  VitNames names = {};
  NormKind norm = NormKind::layer;
  NormKind qk_norm = NormKind::rms;
  bool qk_norm_whole = false;    // over all heads side by side, else per head
  bool v_norm = false;           // per head of the values, without weights
  const char* linear = nullptr;  // the matrix itself, below each matrix's path
  bool clamps = false;           // each matrix may have input_min, input_max, output_min and output_max beside it
  bool gates = false;            // scale1 and scale2 are numbers whose tanh is multiplied
  bool qkv_bias = true, out_bias = true, mlp_bias = true;
  bool k_bias = true;         // where queries and values have one
  float attention_scale = 0;  // 0: 1 / sqrt(head_dim)
};

/// `count` runs of `length` patches, one after the other; patches see only their own run.
struct Segments {
  int count, length;
};

/// The relative positions of an image's patches.
struct PatchOrder {
  std::optional<PatchRotation> rotation = std::nullopt;
  std::vector<Segments> segments = {};  // together they are all patches; empty: all see all
  int padding = 0;  // without segments: the last patches, which all others see, but which do not see each other
};

/// A matrix whose inputs and outputs are clamped.
struct ClampedLinear {
  Linear linear;
  std::optional<mx::array> input_min, input_max, output_min, output_max;  // one number each
  mx::array operator()(const mx::array& x) const;
};

class VitBlock {
 public:
  VitBlock(const VisionConfig& c, const VitOptions& options, const WeightPath& path);
  /// x [1, L, hidden] → the same. Appends intermediate arrays to `stages`, so that no piece of the work is long.
  mx::array operator()(const mx::array& x, const PatchOrder& order, std::vector<mx::array>& stages) const;

 private:
  mx::array finish(const mx::array& attended, const mx::array& x) const;
  mx::array feed_forward(const mx::array& x) const;
  Qkv project(const mx::array& x) const;

  int heads_;
  float scale_;
  double flops_;  // a row, without attention
  NormQkv project_;
  OutResidual out_;
  std::optional<MlpResidual> mlp_;
  std::optional<GatedMlpResidual> gated_;
  std::optional<mx::array> scale1_, scale2_;
  std::vector<ClampedLinear> clamped_;  // q, k, v, out, gate, up, down; empty: none is clamped
};

/// Blocks one behind the other.
class Vit {
 public:
  /// The blocks at path / 0 to path / (layers - 1).
  Vit(const VisionConfig& c, const VitOptions& options, const WeightPath& path, int layers);
  /// x [1, L, hidden] through all of them.
  mx::array operator()(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const;
  /// x and each block's output: layers + 1 arrays.
  std::vector<mx::array> states(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const;
  const std::vector<VitBlock>& blocks() const { return blocks_; }

 private:
  std::vector<VitBlock> blocks_;
};

}  // namespace mlxk
