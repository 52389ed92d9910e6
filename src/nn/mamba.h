#pragma once

#include <optional>

#include "nn/attention.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/causal_conv.h"
#include "nn/mlp.h"
#include "nn/norm_linears.h"

namespace mlxk {

/// The shape of a Mamba-2 mixer.
struct Mamba2Config {
  int hidden_size, heads, head_dim, groups, state_size, kernel;
  bool conv_bias, in_bias, out_bias;
  float norm_eps;
  float dt_min = 0, dt_max;
  int norm_groups = 1;            // 0: no norm after the scan
  bool norm_before_gate = false;  // else after it

  int width() const { return heads * head_dim; }
};

/// residual + multiplier · out(norm(scan(conv(in(in_norm(x)))) · silu(gate))) (https://arxiv.org/abs/2405.21060). The
/// states are the convolution's and the scan's.
class Mamba2Residual {
 public:
  static constexpr int kStates = 2;

  /// Takes in_proj, conv1d, A_log, D, dt_bias, norm and out_proj at `path`.
  Mamba2Residual(const Mamba2Config& c, const WeightPath& path, std::optional<Norm> in_norm, float multiplier = 1);
  /// x [B, L, hidden]; the residual is x unless given.
  mx::array operator()(const mx::array& x, RecurrentCache& cache, const LayerInputs& in,
                       const std::optional<mx::array>& residual = std::nullopt) const;

 private:
  mx::array gated(const mx::array& y, const mx::array& gate) const;

  Mamba2Config config_;
  NormLinears in_;  // rows of the gate, the convolution and the time steps
  CausalConv1d conv_;
  mx::array a_, skip_, dt_bias_;
  std::optional<RmsNorm> group_norm_;      // without weights
  std::optional<mx::array> group_factor_;  // [width]
  OutResidual out_;
};

/// The shape of a Mamba mixer.
struct MambaConfig {
  int hidden_size, width, state_size, kernel, time_step_rank;
  bool conv_bias, bias;
};

/// residual + out(scan(conv(in(in_norm(x)))) · silu(gate)) (https://arxiv.org/abs/2312.00752): every channel is a head
/// of one number with a separate decay for each state.
class MambaResidual {
 public:
  static constexpr int kStates = 2;

  /// Takes in_proj, conv1d, x_proj, dt_proj, A_log, D and out_proj at `path`. The norms apply to the time steps (before
  /// dt_proj), b and c.
  MambaResidual(const MambaConfig& c, const WeightPath& path, Norm in_norm, std::optional<Norm> dt_norm = std::nullopt,
                std::optional<Norm> b_norm = std::nullopt, std::optional<Norm> c_norm = std::nullopt);
  mx::array operator()(const mx::array& x, RecurrentCache& cache, const LayerInputs& in) const;  // [B, L, hidden]

 private:
  MambaConfig config_;
  NormLinear in_;
  CausalConv1d conv_;
  Linear x_, dt_;
  std::optional<Norm> dt_norm_, b_norm_, c_norm_;
  mx::array a_, skip_;
  OutResidual out_;
};

}  // namespace mlxk
