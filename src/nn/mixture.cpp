#include "nn/mixture.h"

#include <fmt/format.h>

#include <limits>

#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array take_stack(const WeightPath& path, int experts, int out, int in) {
  Weights& weights = path.weights();
  const std::string name = (path / "weight").path();
  return path.has("scales") ? weights.keep(weights.take_raw(name)) : weights.take_as_stored(name, {experts, out, in});
}

/// The indices of the `count` largest of each row, the first of equals first: [tokens, count] uint32.
mx::array largest(const mx::array& x, int count) {
  const mx::array order = mx::argsort(mx::negative(x), -1);
  return mx::astype(mx::slice(order, {0, 0}, {x.shape(0), count}), mx::uint32);
}

/// Scores [tokens, experts], with -infinity outside the best groups.
mx::array best_groups(const RoutingRule& rule, const mx::array& strengths) {
  const int tokens = strengths.shape(0), size = strengths.shape(1) / rule.groups;
  const mx::array grouped = mx::reshape(strengths, {tokens, rule.groups, size});
  const int best = std::min(rule.group_best, size);
  const mx::array sorted = mx::sort(grouped, -1);
  const mx::array merits = mx::sum(mx::slice(sorted, {0, 0, size - best}, {tokens, rule.groups, size}), -1);
  const mx::array chosen = largest(merits, rule.top_groups);
  const mx::array numbers = mx::reshape(mx::arange(0, rule.groups, mx::uint32), {1, rule.groups, 1});
  const mx::array kept = mx::any(mx::equal(numbers, mx::expand_dims(chosen, 1)), -1);  // [tokens, groups]
  const mx::array nothing(-std::numeric_limits<float>::infinity());
  return mx::reshape(mx::where(mx::expand_dims(kept, -1), grouped, nothing), strengths.shape());
}

}  // namespace

ExpertLinear::ExpertLinear(const WeightPath& path, int experts, int in, int out, bool bias)
    : experts_(experts), in_(in), out_(out), weight_(take_stack(path, experts, out, in)) {
  Weights& weights = path.weights();
  if (bias) bias_ = path.take("bias", {experts, out});
  if (!path.has("scales")) return;
  scales_ = weights.keep_as_stored(weights.take_raw((path / "scales").path()));
  packing_ = weights.quantization().of(path.path(), weight_, *scales_, in);
  for (const auto* part : {&weight_, &*scales_}) {
    if (part->ndim() == 3 && part->shape(0) == experts && part->shape(1) == out) continue;
    weights.note(fmt::format("{} must have {} experts of {} rows", path.path(), experts, out));
  }
  if (packing_.mode == "affine") biases_ = weights.take_as_stored((path / "biases").path(), scales_->shape());
}

MatrixWeights ExpertLinear::weights() const {
  if (!scales_) return {weight_, std::nullopt, std::nullopt, bias_, out_, in_};
  return {weight_, scales_, biases_, bias_, out_, in_, packing_.bits, packing_.group_size};
}

mx::array ExpertLinear::operator()(const mx::array& x, const mx::array& ids) const {
  mx::array y = scales_ ? mx::gather_qmm(x, weight_, *scales_, biases_, std::nullopt, ids, true, packing_.group_size,
                                         packing_.bits, packing_.mode)
                        : mx::gather_mm(x, mx::swapaxes(mx::astype(weight_, x.dtype()), -1, -2), std::nullopt, ids);
  return bias_ ? mx::add(y, mx::expand_dims(mx::take(*bias_, ids, 0), -2)) : y;
}

Packed ExpertLinear::packed(mx::Dtype type) const {
  const LayerOps& ops = layer_ops();
  if (!ops.pack_stack || !ops.takes(type)) return nullptr;
  if (!packed_) packed_ = ops.pack_stack(weights());
  return packed_;
}

mx::array ExpertLinear::of_chosen(const mx::array& x, const mx::array& ids) const {
  const bool by_token = x.ndim() == 2;
  if (const Packed stack = packed(x.dtype())) {
    const auto chosen_matmul = layer_ops().chosen_matmul;
    if (by_token) return chosen_matmul(x, ids, stack);
    const mx::array rows = mx::flatten(x, 0, 1);
    const mx::array y = chosen_matmul(rows, mx::reshape(ids, {rows.shape(0), 1}), stack);
    return mx::reshape(y, {x.shape(0), x.shape(1), out_});
  }
  return mx::squeeze((*this)(by_token ? mx::expand_dims(x, std::vector<int>{1, 2}) : mx::expand_dims(x, 2), ids), 2);
}

Router::Chosen Router::operator()(const mx::array& h) const {
  mx::array in = norm ? (*norm)(h) : h;
  if (input_scale) in = mx::multiply(in, mx::astype(*input_scale, in.dtype()));
  const mx::array logits = mx::astype(scores(in), mx::float32);
  mx::array scored = logits;
  if (rule.score == RoutingRule::Score::softmax) scored = mx::softmax(logits, -1, true);
  if (rule.score == RoutingRule::Score::sigmoid) scored = mx::sigmoid(logits);
  mx::array strengths = selection_bias ? mx::add(scored, *selection_bias) : scored;
  if (rule.groups > 1) strengths = best_groups(rule, strengths);
  const mx::array ids = largest(strengths, rule.top_k);
  mx::array weights = mx::take_along_axis(scored, ids, -1);
  if (rule.score == RoutingRule::Score::softmax_of_chosen) weights = mx::softmax(weights, -1, true);
  if (rule.normalise) weights = mx::divide(weights, mx::add(mx::sum(weights, -1, true), mx::array(rule.eps)));
  if (rule.scale != 1) weights = mx::multiply(weights, mx::array(rule.scale));
  if (expert_scale) weights = mx::multiply(weights, mx::take(*expert_scale, ids, 0));
  return {ids, weights};
}

mx::array MixtureResidual::sum_of_experts(const mx::array& h, const mx::array& routed) const {
  const auto [ids, weights] = router(routed);
  const mx::array factors = mx::astype(mx::expand_dims(weights, -1), h.dtype());  // [tokens, k, 1]
  const mx::array in = scales_input ? mx::multiply(mx::expand_dims(h, 1), factors) : h;
  const mx::array above = up.of_chosen(in, ids);
  const mx::array inner =
      gate ? activate_gated(activation, gate->of_chosen(in, ids), above) : activate(activation, above);
  const mx::array each = down.of_chosen(inner, ids);  // [tokens, k, hidden]
  return mx::sum(scales_input ? each : mx::multiply(each, factors), 1);
}

const Packed& MixtureResidual::as_one() const {
  static const Packed kNone;
  const LayerOps& ops = layer_ops();
  if (!ops.mixture || !ops.knows(activation) || !gate || post_norm || scales_input) return kNone;
  if (tried || router.norm || router.input_scale) return packed;
  tried = true;
  MixtureWeights weights{gate->weights(),         up.weights(), down.weights(),        activation,         std::nullopt,
                         router.scores.weights(), router.rule,  router.selection_bias, router.expert_scale};
  if (norm) weights.norm = norm->weights();
  packed = ops.pack_mixture(std::move(weights));
  return packed;
}

mx::array SharedExpert::operator()(const mx::array& h) const {
  const mx::array y = mlp.inner(h);
  return gate ? mx::multiply(y, mx::sigmoid((*gate)(h))) : y;
}

mx::array MixtureResidual::operator()(const mx::array& x, const std::optional<mx::array>& residual) const {
  const Packed& one = as_one();
  if (!one) return by_operations(x, residual);
  const LayerOps& ops = layer_ops();
  if (!shared) return ops.mixture(x, one, multiplier, residual);
  const mx::array seen = (*shared)(norm ? (*norm)(x) : x);
  return ops.mixture(x, one, multiplier, add_residual(seen, residual ? *residual : x, multiplier));
}

mx::array MixtureResidual::by_operations(const mx::array& x, const std::optional<mx::array>& residual) const {
  const mx::array h = norm ? (*norm)(x) : x, rows = mx::reshape(h, {-1, x.shape(-1)});
  const bool own_input = router.norm || router.input_scale;
  mx::array sum = mx::reshape(sum_of_experts(rows, own_input ? mx::reshape(x, rows.shape()) : rows), x.shape());
  if (shared) sum = mx::add(sum, (*shared)(h));
  return add_residual(post_norm ? (*post_norm)(sum) : sum, residual ? *residual : x, multiplier);
}

}  // namespace mlxk
