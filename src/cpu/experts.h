#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/matmul.h"

namespace mlxk {

/// One matrix for each expert, all with the same shape and packing.
using ExpertStack = std::vector<MatrixView>;

/// How the router's scores determine a token's experts and their weights.
struct RoutingRule {
  /// softmax over all experts, or over the chosen ones alone; the choice itself is by the logits in both cases.
  enum class Score { softmax, sigmoid, softmax_of_chosen };
  int top_k = 1;
  Score score = Score::softmax;
  const float* selection_bias = nullptr;  // [experts], added for the choice only; or null
  bool normalise = false;                 // the chosen weights sum to one
  float scale = 1;                        // multiplies the final weights
  float eps = 0;                          // added to the sum that normalises the weights
  int groups = 1, top_groups = 1;         // experts are chosen from the best groups of neighbours only
  int group_best = 1;                     // a group's score is the sum of this many of its best experts
  const float* expert_scale = nullptr;    // [experts], multiplies each one's final weight; or null
};

/// ids and weights [n, top_k], the best expert first (of equals the one with the lower index), from logits [n,
/// experts]; a row that is not finite gets experts 0, 1, … and weights of NaN. top_k is in [1, experts].
void route(const RoutingRule& rule, const float* logits, int64_t n, int64_t experts, uint32_t* ids, float* weights);

/// y[t, j] = stack[ids[t, j]] · x[t]; x [n, columns], ids [n, k], y [n, k, rows]. A row whose id is not an expert is
/// NaN. Runs on all kernel threads; call it from one thread at a time.
void multiply_chosen(const ExpertStack& stack, const float* x, int64_t n, const uint32_t* ids, int64_t k, float* y,
                     Phase phase);

/// The gated MLPs of a mixture.
struct GatedExperts {
  ExpertStack gate, up, down;
  int activation = 0;  // as in CpuKernels::gated
};

/// out[t] += sum over j of weights[t, j] * down(act(gate(x[t])) * up(x[t])) of expert ids[t, j]; x and out [n, hidden].
/// The experts are added in the order of their indices. A token with an id that is not an expert becomes NaN. Threads
/// as in multiply_chosen.
void add_gated_experts(const GatedExperts& experts, const float* x, int64_t n, const uint32_t* ids,
                       const float* weights, int64_t k, float* out, Phase phase);

}  // namespace mlxk
