#include "nn/experts.h"

#include <fmt/format.h>

#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array take_stack(const WeightPath& path, int experts, int out, int in) {
  Weights& weights = path.weights();
  const std::string name = (path / "weight").path();
  return path.has("scales") ? weights.keep(weights.take_raw(name)) : weights.take_as_stored(name, {experts, out, in});
}

/// The chosen experts of each row and their weights.
std::pair<mx::array, mx::array> choose(const RoutingRule& rule, const std::optional<mx::array>& bias,
                                       const mx::array& logits) {
  const mx::array wide = mx::astype(logits, mx::float32);
  const mx::array scores = rule.score == RoutingRule::Score::softmax ? mx::softmax(wide, -1, true) : mx::sigmoid(wide);
  const mx::array strength = bias ? mx::add(scores, *bias) : scores;
  const mx::array order = mx::argsort(mx::negative(strength), -1);
  mx::Shape end = order.shape();
  end.back() = rule.top_k;
  const mx::array ids = mx::astype(mx::slice(order, mx::Shape(end.size(), 0), end), mx::uint32);
  mx::array weights = mx::take_along_axis(scores, ids, -1);
  if (rule.normalise) weights = mx::divide(weights, mx::sum(weights, -1, true));
  return {ids, mx::multiply(weights, mx::array(rule.scale))};
}

}  // namespace

ExpertLinear::ExpertLinear(const WeightPath& path, int experts, int in, int out, bool bias)
    : in_(in), out_(out), weight_(take_stack(path, experts, out, in)) {
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

std::optional<CpuMatrix> ExpertLinear::cpu() const {
  if (!cpu_is_default()) return std::nullopt;
  if (!scales_) return CpuMatrix{weight_, std::nullopt, std::nullopt, bias_, out_, in_};
  if (packing_.mode == "affine" && (!biases_ || biases_->dtype() != scales_->dtype())) return std::nullopt;
  return CpuMatrix{weight_, scales_, biases_, bias_, out_, in_, packing_.bits, packing_.group_size};
}

mx::array ExpertLinear::operator()(const mx::array& x, const mx::array& ids) const {
  mx::array y = scales_ ? mx::gather_qmm(x, weight_, *scales_, biases_, std::nullopt, ids, true, packing_.group_size,
                                         packing_.bits, packing_.mode)
                        : mx::gather_mm(x, mx::swapaxes(mx::astype(weight_, x.dtype()), -1, -2), std::nullopt, ids);
  return bias_ ? mx::add(y, mx::expand_dims(mx::take(*bias_, ids, 0), -2)) : y;
}

mx::array MixtureResidual::operator()(const mx::array& x) const {
  if (!experts) {
    const auto router_matrix = router.cpu(), g = gate.cpu(), u = up.cpu(), d = down.cpu();
    if (!router_matrix || !g || !u || !d) return by_operations(x);
    CpuMixture mixture{*g, *u, *d, static_cast<int>(activation), std::nullopt, router_matrix, rule, selection_bias};
    if (norm) mixture.norm = norm->cpu();
    experts = cpu_experts(std::move(mixture));
  }
  return cpu_mixture(x, experts, multiplier);
}

mx::array MixtureResidual::by_operations(const mx::array& x) const {
  const int hidden = x.shape(-1);
  const mx::array h = mx::reshape(norm ? (*norm)(x) : x, {-1, hidden});
  const auto [ids, weights] = choose(rule, selection_bias, router(h));
  const mx::array rows = mx::expand_dims(h, std::vector<int>{1, 2});  // [tokens, 1, 1, hidden]
  const mx::array inner = mx::multiply(activate(activation, gate(rows, ids)), up(rows, ids));
  const mx::array each = mx::squeeze(down(inner, ids), -2);  // [tokens, k, hidden]
  const mx::array sum = mx::sum(mx::multiply(each, mx::astype(mx::expand_dims(weights, -1), each.dtype())), 1);
  const mx::array scaled = multiplier == 1 ? sum : mx::multiply(sum, mx::array(multiplier, sum.dtype()));
  return mx::add(x, mx::reshape(scaled, x.shape()));
}

}  // namespace mlxk
