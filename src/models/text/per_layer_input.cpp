#include "models/text/per_layer_input.h"

#include <cmath>

#include "mlx/ops.h"

namespace mlxk {
namespace {

mx::array times(const mx::array& x, double factor) {
  return mx::multiply(x, mx::array(static_cast<float>(factor), x.dtype()));
}

}  // namespace

float embedding_factor(double factor, const WeightPath& path) {
  const auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / (path.has("scales") ? "scales" : "weight")).path());
  const bool rounds = found != tensors.end() && found->second.dtype() == mx::bfloat16;
  return rounds ? bfloat16_next_to(factor) : static_cast<float>(factor);
}

PerLayerEmbedding::PerLayerEmbedding(const WeightPath& path, const DecoderConfig& c, int vocab, int dims)
    : layers_(c.num_hidden_layers),
      dims_(dims),
      vocab_(vocab),
      hidden_(c.hidden_size),
      multiplier_(embedding_factor(std::sqrt(double(dims)), path / "embed_tokens_per_layer")),
      table_(path / "embed_tokens_per_layer", vocab, layers_ * dims),
      projection_(path / "per_layer_model_projection", c.hidden_size, layers_ * dims),
      norm_(RmsNorm(path / "per_layer_projection_norm", dims, c.norm_eps)) {}

std::vector<mx::array> PerLayerEmbedding::operator()(const mx::array& h, const mx::array& ids) const {
  const mx::array known = mx::where(mx::less(ids, mx::array(vocab_, ids.dtype())), ids, mx::zeros_like(ids));
  const mx::array own = times(table_(known), multiplier_);
  const mx::array projected = times(projection_(h), 1 / std::sqrt(double(hidden_)));
  const mx::array normed = norm_(mx::unflatten(projected, -1, {layers_, dims_}));
  const mx::array both = times(mx::add(normed, mx::unflatten(own, -1, {layers_, dims_})), std::sqrt(0.5));
  std::vector<mx::array> inputs;
  for (const mx::array& input : mx::split(both, layers_, 2)) inputs.push_back(mx::squeeze(input, 2));
  return inputs;
}

PerLayerInput::PerLayerInput(const WeightPath& layer, const DecoderConfig& c, int dims)
    : activation_(c.activation),
      gate_(layer / "per_layer_input_gate", c.hidden_size, dims),
      projection_(layer / "per_layer_projection", dims, c.hidden_size),
      norm_(RmsNorm(layer / "post_per_layer_input_norm", c.hidden_size, c.norm_eps)) {}

mx::array PerLayerInput::operator()(const mx::array& x, const mx::array& input) const {
  return norm_(projection_(mx::multiply(activate(activation_, gate_(x)), input)));
}

}  // namespace mlxk
