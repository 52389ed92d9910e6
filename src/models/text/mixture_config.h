#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nn/config.h"
#include "nn/mixture.h"

namespace mlxk {

/// A model_type's defaults for keys of its mixtures that config.json leaves out, and the names of its tensors.
struct MixtureDefaults {
  RoutingRule::Score score = RoutingRule::Score::softmax;  // the default without scoring_func
  bool normalise = false;                                  // the default without norm_topk_prob
  float eps = 0;                                           // added to the sum that normalises the weights
  int group_best = 2;  // a group's score is the sum of this many of its best experts
  bool expert_bias = false;
  bool router_bias = false;
  bool shared_bias = false;
  bool scales_input = false;  // the weight multiplies an expert's input

  // Paths below the layer; nullptr: the layers have none.
  const char* router = "mlp.gate";
  const char* experts = "mlp.switch_mlp";
  const char* shared = nullptr;
  const char* shared_gate = nullptr;
  const char* selection_bias = nullptr;
};

/// The mixtures of DeepSeek-V3 (https://arxiv.org/abs/2412.19437), which later types took over.
inline constexpr MixtureDefaults kDeepseekV3Mixture{.score = RoutingRule::Score::sigmoid,
                                                    .normalise = true,
                                                    .eps = 1e-20F,
                                                    .shared = "mlp.shared_experts",
                                                    .selection_bias = "mlp.gate.e_score_correction_bias"};

/// The layers of a decoder whose MLP is a mixture of experts.
struct MixtureConfig {
  /// Reads num_experts (or num_local_experts, n_routed_experts, …), num_experts_per_tok, moe_intermediate_size,
  /// norm_topk_prob, scoring_func, n_group, topk_group, routed_scaling_factor, shared experts, and which of `layers`
  /// layers are mixtures (decoder_sparse_step, mlp_only_layers, first_k_dense_replace, mlp_layer_types, …). Throws
  /// bad_model naming the key.
  static MixtureConfig read(const Config& config, int layers, const MixtureDefaults& defaults = {});

  MixtureDefaults defaults;
  int experts, wide;
  int shared_wide = 0;  // 0: no shared expert
  RoutingRule rule;
  std::vector<bool> layers;

  /// The mixture of one layer, at `path`; its norm is given.
  MixtureResidual make(const WeightPath& path, std::optional<Norm> norm, int hidden, const Activation& activation,
                       float multiplier = 1) const;
};

/// Stacks experts that a checkpoint holds one by one, `{prefix}.experts.{e}.{part}.weight` and its packed forms, as
/// `{experts_path}.{as}.weight`. `prefix` and `experts_path` are whole paths of one layer.
void stack_experts(Weights& weights, const std::string& prefix, const std::string& experts_path, int experts,
                   const std::vector<std::pair<std::string, std::string>>& parts = {
                       {"gate_proj", "gate_proj"}, {"up_proj", "up_proj"}, {"down_proj", "down_proj"}});

/// Splits experts that a checkpoint holds in two stacks, `{from}.gate_up_proj` [experts, 2 * wide, hidden] and
/// `{from}.down_proj` [experts, hidden, wide], or both with their last two axes swapped, into the three stacks
/// `{to}.gate_proj.weight` and so on.
void split_gate_up(Weights& weights, const std::string& from, const std::string& to, int hidden);

}  // namespace mlxk
