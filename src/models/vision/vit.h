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
/// all its variants: what a family differs in is a row of VitOptions.

/// Where a checkpoint has a block's tensors; nullptr: it has none; "": the block itself.
struct VitNames {
  const char *norm1 = "layer_norm1", *norm2 = "layer_norm2";
  const char *post_norm1 = nullptr, *post_norm2 = nullptr;  // behind attention and MLP, before the residual is added
  const char* attention = "self_attn";
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *out = "out_proj";
  const char* qkv = nullptr;  // one matrix in the place of q, k and v
  const char *q_norm = nullptr, *k_norm = nullptr;
  const char* mlp = "mlp";
  const char *fc1 = "fc1", *fc2 = "fc2";
  const char *gate = nullptr, *up = "up_proj", *down = "down_proj";  // a gated MLP, in the place of fc1 and fc2
  const char *scale1 = nullptr, *scale2 = nullptr;                   // [hidden], what attention and MLP give times it
};

struct VitOptions {
  VitNames names = {};
  NormKind norm = NormKind::layer;
  NormKind qk_norm = NormKind::rms;
  bool qk_norm_whole = false;    // of all heads side by side, else of each
  bool v_norm = false;           // of each head's values, without a factor
  const char* linear = nullptr;  // below each matrix's place, the matrix itself
  bool clamps = false;           // each matrix has input_min, input_max, output_min and output_max beside, if any
  bool qkv_bias = true, out_bias = true, mlp_bias = true;
  float attention_scale = 0;  // 0: 1 / sqrt(head_dim)
};

/// `count` stretches of `length` patches, one behind the other, each of which sees itself alone.
struct Segments {
  int count, length;
};

/// The relative positions of an image's patches.
struct PatchOrder {
  std::optional<PatchRotation> rotation = std::nullopt;
  std::vector<Segments> segments = {};  // they make up all patches; empty: all see all
};

/// A matrix whose inputs and outputs are kept within limits.
struct ClampedLinear {
  Linear linear;
  std::optional<mx::array> input_min, input_max, output_min, output_max;  // of one number
  mx::array operator()(const mx::array& x) const;
};

class VitBlock {
 public:
  VitBlock(const VisionConfig& c, const VitOptions& options, const WeightPath& path);
  /// x [1, L, hidden] → the same. Adds to `stages` what is computed on the way, in pieces none of which is long.
  mx::array operator()(const mx::array& x, const PatchOrder& order, std::vector<mx::array>& stages) const;

 private:
  mx::array finish(const mx::array& attended, const mx::array& x) const;
  mx::array feed_forward(const mx::array& x) const;
  Qkv project(const mx::array& x) const;

  int heads_;
  float scale_;
  double flops_;  // of a row but for attention
  NormQkv project_;
  OutResidual out_;
  std::optional<MlpResidual> mlp_;
  std::optional<GatedMlpResidual> gated_;
  std::optional<mx::array> scale1_, scale2_;
  std::vector<ClampedLinear> clamped_;  // q, k, v, out, gate, up, down; empty: none is
};

/// Blocks one behind the other.
class Vit {
 public:
  /// The blocks at path / 0 to path / (layers - 1).
  Vit(const VisionConfig& c, const VitOptions& options, const WeightPath& path, int layers);
  /// x [1, L, hidden] through all of them.
  mx::array operator()(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const;
  /// x and what each block makes of it: layers + 1 arrays.
  std::vector<mx::array> states(mx::array x, const PatchOrder& order, std::vector<mx::array>& stages) const;
  const std::vector<VitBlock>& blocks() const { return blocks_; }

 private:
  std::vector<VitBlock> blocks_;
};

}  // namespace mlxk
