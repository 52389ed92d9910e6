#pragma once

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/cuda_ops.h"

namespace mlxk {

/// Launches of matrix products, from which operations are built.

/// Operations fused with a product.
struct ProductStep {
  bool gated = false;  // act(first) * second of the layer's two matrices
  int activation = 0;
  float multiplier = 1;
  const mx::array* residual = nullptr;
};

/// y = norm(x) times each matrix of the layer, with the step's operations: x [n, columns], ys [n, rows] for each matrix
/// (one y if gated).
void launch_products(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step, const mx::array& x,
                     Arrays& ys);

/// The experts that tokens have chosen.
struct Chosen {
  mx::array ids, weights;  // [tokens, slots] int32 and float32
  int tokens, slots;
};

// As in routing.cuh.
struct RouteParams {
  const void* logits;
  const void* bias;
  const void* expert_scale;
  void* ids;
  void* weights;
  int tokens, experts, top_k, score, normalise, groups, top_groups, group_best;
  float scale, eps;
};
/// The macro that routing.cuh needs.
CudaDefine lane_experts(int experts);
/// Whether launch_router supports the rule and the number of tokens.
bool suits_router(const CudaLayer& router, const RouteParams& route, mx::Dtype type);
/// logits = router(norm(x)), and the experts chosen by the rule, in one launch.
void launch_router(CudaLaunches& launches, const CudaLayer& router, const RouteParams& route, const mx::array& x,
                   mx::array& logits, Chosen& chosen);

/// Whether the two launches below support that many experts of a token.
bool suits_chosen(const CudaLayer& gate_up, const CudaLayer& down, mx::Dtype type, int slots);
/// y [tokens, slots, rows] = act(gate(norm(x))) * up(norm(x)) of each token's experts, for few tokens: every token
/// reads the weights of its own experts.
void launch_chosen_gated(CudaLaunches& launches, const CudaLayer& gate_up, const Chosen& chosen, int activation,
                         const mx::array& x, mx::array& y);
/// y [tokens, rows] = residual + multiplier * the weighted sum of the experts' products: x [tokens, slots, columns].
void launch_chosen_down(CudaLaunches& launches, const CudaLayer& down, const Chosen& chosen, const ProductStep& step,
                        const mx::array& x, mx::array& y);

/// Pairs of a token and one of its experts, sorted by expert (route.cu).
struct PairGroups {
  mx::array groups, order;
  int at_once;  // pairs of a group at most
  int most;     // groups at most
};
/// The largest group that launch_grouped_few supports, in pairs; 0: none.
int few_pairs(const CudaLayer& layer, mx::Dtype type);
/// launch_grouped for groups of few pairs; applies the layer's norm to x.
void launch_grouped_few(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step,
                        const PairGroups& pairs, int pairs_of_row, const mx::array& x, mx::array& y);
/// A mixture's two products of all pairs for bfloat16 activations: y [pairs, rows] = down(act(gate) * up) of norm(x)
/// [tokens, columns]. The weights are read once per group, the activations once per 128 rows of weights (grouped.cu).
void launch_grouped_many(CudaLaunches& launches, const CudaLayer& gate_up, const CudaLayer& down, int activation,
                         const PairGroups& pairs, const GroupedPlan plans[2], int slots, const mx::array& x,
                         mx::array& activated, mx::array& y);
/// Whether launch_grouped_many supports the matrices.
bool suits_grouped_many(const CudaLayer& gate_up, const CudaLayer& down, mx::Dtype type);

/// The plan of launch_grouped if about `pairs_of_expert` pairs are expected of each expert, in `groups` groups.
QmmPlan grouped_plan(const CudaLayer& layer, bool gated, mx::Dtype type, int pairs_of_expert, int groups);
/// y [pairs, rows] of x [pairs / pairs_of_row, columns]: each pair times its expert's matrix. The weights are read once
/// per group.
void launch_grouped(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step, const PairGroups& pairs,
                    const QmmPlan& plan, int pairs_of_row, const mx::array& x, mx::array& y);

}  // namespace mlxk
