#include "kernels/cuda/cuda_mixture.h"

#include <algorithm>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/functions.h"
#include "kernels/cuda/products.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

// As in route.cu.
constexpr int kRouteWarps = 4;
constexpr int kMaxExperts = 1024;
constexpr int kMaxChosen = 32;  // experts, and groups: a lane has one

struct GroupParams {
  const void* ids;
  void* order;
  void* groups;
  int pairs, experts, at_once;
};

struct CombineParams {
  const void* each;
  const void* weights;
  const void* residual;
  void* y;
  int columns, top_k;
  float multiplier;
};

CUfunc_st* function_of(const char* name, const CudaMixture& m, mx::Dtype type) {
  return cuda_function({cuda_source::common, cuda_source::routing, cuda_source::route}, name,
                       {{"TYPE", cuda_type(type)}, lane_experts(m.experts)});
}

/// Chooses the experts. `logits`: the router's output; if null, it is computed here.
Chosen choose(CudaLaunches& launches, const CudaMixture& m, const mx::array& x, const mx::array* logits, int tokens) {
  const RoutingRule& rule = m.rule;
  Chosen chosen{launches.scratch({tokens, rule.top_k}, mx::int32), launches.scratch({tokens, rule.top_k}, mx::float32),
                tokens, rule.top_k};
  Arrays own;
  if (!logits) own.push_back(launches.scratch({tokens, m.experts}, mx::float32));
  const auto data_of = [](const std::optional<mx::array>& a) { return a ? cuda_data(*a) : nullptr; };
  const RouteParams p{cuda_data(logits ? *logits : own[0]),
                      data_of(m.selection_bias),
                      data_of(m.expert_scale),
                      cuda_data(chosen.ids),
                      cuda_data(chosen.weights),
                      tokens,
                      m.experts,
                      rule.top_k,
                      static_cast<int>(rule.score),
                      rule.normalise,
                      rule.groups,
                      rule.top_groups,
                      rule.group_best,
                      rule.scale,
                      rule.eps};
  if (!logits && suits_router(*m.packed_router, p, x.dtype())) {
    launch_router(launches, *m.packed_router, p, x, own[0], chosen);
    return chosen;
  }
  if (!logits) launch_products(launches, *m.packed_router, {}, x, own);
  const auto blocks = static_cast<unsigned>((tokens + kRouteWarps - 1) / kRouteWarps);
  launches.launch(function_of("route", m, mx::float32), {blocks}, kRouteWarps * 32, 0, p, {logits ? *logits : own[0]},
                  {chosen.ids, chosen.weights});
  return chosen;
}

PairGroups grouped(CudaLaunches& launches, const CudaMixture& m, const Chosen& chosen, int at_once) {
  const int pairs = chosen.tokens * chosen.slots, most = std::min(pairs, m.experts + pairs / at_once);
  PairGroups groups{launches.scratch({1 + 3 * most}, mx::int32), launches.scratch({pairs}, mx::int32), at_once, most};
  const GroupParams p{
      cuda_data(chosen.ids), cuda_data(groups.order), cuda_data(groups.groups), pairs, m.experts, at_once};
  launches.launch(function_of("group", m, mx::float32), {1}, kMaxExperts, 0, p, {chosen.ids},
                  {groups.order, groups.groups});
  return groups;
}

/// Computes all tokens of an expert together.
void by_expert(CudaLaunches& launches, const CudaMixture& m, const Chosen& chosen, const ProductStep& step,
               const mx::array& x, mx::array& out) {
  const int pairs = chosen.tokens * chosen.slots, inner = m.down->packing.columns, hidden = m.gate_up->packing.columns;
  const int each = std::max(1, pairs / m.experts), groups = std::min(pairs, m.experts);
  mx::array activated = launches.scratch({pairs, inner}, x.dtype());
  mx::array products = launches.scratch({pairs, hidden}, x.dtype());
  ProductStep gated;
  gated.gated = true;
  gated.activation = m.activation;
  const int few = std::min(few_pairs(*m.gate_up, x.dtype()), few_pairs(*m.down, x.dtype()));
  if (suits_grouped_many(*m.gate_up, *m.down, x.dtype())) {
    const GroupedPlan plans[] = {m.gate_up->packing.grouped_plan(each), m.down->packing.grouped_plan(each)};
    const PairGroups pairs_of = grouped(launches, m, chosen, plans[0].at_once());
    launch_grouped_many(launches, *m.gate_up, *m.down, m.activation, pairs_of, plans, chosen.slots, x, activated,
                        products);
  } else if (each <= few) {
    const PairGroups pairs_of = grouped(launches, m, chosen, few);
    launch_grouped_few(launches, *m.gate_up, gated, pairs_of, chosen.slots, x, activated);
    launch_grouped_few(launches, *m.down, {}, pairs_of, 1, activated, products);
  } else {
    const QmmPlan gated_plan = grouped_plan(*m.gate_up, true, x.dtype(), each, groups);
    const QmmPlan down_plan = grouped_plan(*m.down, false, x.dtype(), each, groups);
    const PairGroups pairs_of = grouped(launches, m, chosen, std::min(gated_plan.at_once, down_plan.at_once));
    launch_grouped(launches, *m.gate_up, gated, pairs_of, gated_plan, chosen.slots, x, activated);
    launch_grouped(launches, *m.down, {}, pairs_of, down_plan, 1, activated, products);
  }
  const CombineParams c{
      cuda_data(products), cuda_data(chosen.weights), cuda_data(*step.residual), cuda_data(out), hidden, chosen.slots,
      step.multiplier};
  launches.launch(function_of("combine", m, x.dtype()), {static_cast<unsigned>(chosen.tokens)}, 256, 0, c,
                  {products, chosen.weights, *step.residual}, {out});
}

/// Inputs: x, the residual, and the router's logits unless they are computed here.
void mix(CudaLaunches& launches, const CudaMixture& m, float multiplier, const Arrays& in, mx::array& out) {
  const mx::array& x = in[0];
  const int tokens = static_cast<int>(x.size() / static_cast<size_t>(m.gate_up->packing.columns)), slots = m.rule.top_k;
  if (tokens == 0) return;
  ProductStep step;
  step.multiplier = multiplier;
  step.residual = &in[1];
  const Chosen chosen = choose(launches, m, x, in.size() > 2 ? &in[2] : nullptr, tokens);
  // A few tokens have few experts in common: each reads its own.
  const bool few = tokens == 1 || 2 * tokens * slots <= m.experts;
  if (few && suits_chosen(*m.gate_up, *m.down, x.dtype(), slots)) {
    mx::array activated = launches.scratch({tokens, slots, m.down->packing.columns}, x.dtype());
    launch_chosen_gated(launches, *m.gate_up, chosen, m.activation, x, activated);
    launch_chosen_down(launches, *m.down, chosen, step, activated, out);
  } else {
    by_expert(launches, m, chosen, step, x, out);
  }
}

/// Whether all arrays of a stack have one entry per expert.
bool has_experts(const MatrixWeights& stack, int experts) {
  const auto fits = [&](const std::optional<mx::array>& a) {
    return !a || (a->ndim() >= 2 && a->shape(0) == experts && a->shape(1) == stack.rows);
  };
  return stack.weight.ndim() == 3 && fits(stack.weight) && fits(stack.scales) && fits(stack.biases) && fits(stack.bias);
}

bool is_sound(const MixtureWeights& m) {
  const int experts = m.gate.weight.shape(0);
  const RoutingRule& rule = m.rule;
  const auto one_each = [&](const std::optional<mx::array>& a) {
    return !a || (a->size() == static_cast<size_t>(experts) && a->dtype() == mx::float32);
  };
  return has_experts(m.gate, experts) && has_experts(m.up, experts) && has_experts(m.down, experts) &&
         m.up.rows == m.gate.rows && m.down.columns == m.gate.rows && m.down.rows == m.gate.columns &&
         m.router->rows == experts && m.router->columns == m.gate.columns && experts <= kMaxExperts &&
         rule.top_k >= 1 && rule.top_k <= kMaxChosen && rule.groups >= 1 && rule.groups <= kMaxChosen &&
         experts % rule.groups == 0 && rule.top_groups >= 1 && rule.top_groups <= rule.groups && rule.group_best >= 1 &&
         rule.top_k <= experts / rule.groups * rule.top_groups && one_each(m.selection_bias) &&
         one_each(m.expert_scale);
}

}  // namespace

std::shared_ptr<const CudaMixture> cuda_mixture_layer(MixtureWeights m, int activation) {
  if (!m.router || !is_sound(m)) return nullptr;
  auto packed_router = cuda_layer({*m.router}, m.norm);
  auto gate_up = cuda_layer({m.gate, m.up}, m.norm), down = cuda_layer({m.down});
  if (!gate_up || !down || (!packed_router && m.router->bits != 0)) return nullptr;
  std::vector<mx::array> arrays;
  for (auto* each : {&m.selection_bias, &m.expert_scale}) {
    if (*each) arrays.push_back(** each = mx::contiguous(**each));
  }
  mx::eval(arrays);
  return std::make_shared<CudaMixture>(CudaMixture{*m.router, packed_router, gate_up, down, m.selection_bias,
                                                   m.expert_scale, m.rule, m.router->rows, activation});
}

mx::array cuda_mixture(const mx::array& x, std::shared_ptr<const CudaMixture> mixture, float multiplier,
                       const std::optional<mx::array>& residual, const std::optional<mx::array>& logits) {
  auto compute = [mixture = std::move(mixture), multiplier](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    mix(launches, *mixture, multiplier, in, out[0]);
  };
  Arrays inputs{row_contiguous(x), row_contiguous(residual ? *residual : x)};
  if (logits) inputs.push_back(row_contiguous(*logits));
  return mx::array(x.shape(), x.dtype(), cuda_op("CudaMixture", std::move(compute), CudaOverlap::no),
                   std::move(inputs));
}

}  // namespace mlxk
