#include "models/embedding/pooling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cpu/phase.h"
#include "mlx/ops.h"
#include "models/embedding/encoder.h"
#include "models/weight_files.h"

namespace mlxk {
namespace {

mx::array identity(const mx::array& x) { return x; }
mx::array relu(const mx::array& x) { return mx::maximum(x, mx::array(0.0F)); }
mx::array tanh(const mx::array& x) { return mx::tanh(x); }
mx::array sigmoid(const mx::array& x) { return mx::sigmoid(x); }
mx::array gelu(const mx::array& x) { return activate(Activation::gelu, x); }
mx::array silu(const mx::array& x) { return activate(Activation::silu, x); }

/// PyTorch's activation classes.
using Function = mx::array (*)(const mx::array&);
Function function_of(const std::string& name) {
  constexpr std::pair<const char*, Function> kFunctions[] = {{"Identity", identity}, {"Tanh", tanh}, {"ReLU", relu},
                                                             {"Sigmoid", sigmoid},   {"GELU", gelu}, {"SiLU", silu}};
  for (const auto& [known, function] : kFunctions) {
    if (name == known) return function;
  }
  return nullptr;
}

/// A text's own tokens [count, hidden], float32 → [1, hidden].
mx::array pool_one(Pooling pooling, const mx::array& x) {
  const int count = x.shape(0);
  if (pooling == Pooling::max) return mx::max(x, 0, true);
  if (pooling == Pooling::mean) return mx::mean(x, 0, true);
  if (pooling == Pooling::mean_sqrt_len_tokens) {
    return mx::divide(mx::sum(x, 0, true), mx::array(std::sqrt(static_cast<float>(count))));
  }
  const mx::array weights = mx::reshape(mx::arange(1, count + 1, mx::float32), {count, 1});
  const double total = 0.5 * count * (count + 1.0);
  return mx::divide(mx::sum(mx::multiply(x, weights), 0, true), mx::array(static_cast<float>(total)));
}

}  // namespace

mx::array pool(Pooling pooling, const mx::array& hidden, const std::vector<int>& lengths,
               const std::vector<int>& skipped) {
  if (pooling == Pooling::cls) return take_rows(hidden, first_rows(lengths));
  if (pooling == Pooling::lasttoken) return take_rows(hidden, last_rows(lengths));
  std::vector<mx::array> rows;
  int end = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int first = end + (skipped.empty() ? 0 : std::clamp(skipped[i], 0, lengths[i] - 1));
    end += lengths[i];
    rows.push_back(pool_one(pooling, mx::slice(hidden, {first, 0}, {end, hidden.shape(1)})));
  }
  return mx::concatenate(rows, 0);
}

mx::array pool(SpladePooling pooling, const mx::array& logits) {
  mx::array x = mx::log1p(mx::maximum(mx::astype(logits, mx::float32), mx::array(0.0F)));
  if (pooling.twice) x = mx::log1p(x);
  return pooling.sum ? mx::sum(x, 0, true) : mx::max(x, 0, true);
}

mx::array normalized(const mx::array& x) {
  const mx::array length = mx::sqrt(mx::sum(mx::square(x), -1, true));
  return mx::divide(x, mx::maximum(length, mx::array(1e-12F)));
}

EmbeddingHead::EmbeddingHead(const EmbeddingPipeline& pipeline, const std::filesystem::path& dir, int hidden_size)
    : pipeline_(pipeline),
      dimensions_(pipeline.token_vectors ? hidden_size : static_cast<int>(pipeline.poolings.size()) * hidden_size) {
  for (const DenseModule& module : pipeline_.dense) {
    const std::filesystem::path folder = dir / module.folder;
    if (!function_of(module.activation)) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("[{}] activation_function '{}' is not built in", module.folder, module.activation));
    }
    auto [tensors, files] = open_weights(weight_files(folder));
    const auto weight = tensors.find("linear.weight");
    if (weight == tensors.end() || weight->second.ndim() != 2 || weight->second.shape(1) != dimensions_) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[{}] linear.weight must be [out, {}]", module.folder, dimensions_));
    }
    const int out = weight->second.shape(0);
    Weights weights(std::move(tensors), QuantizationConfig());
    const WeightPath path = WeightPath(weights) / "linear";
    dense_.push_back({Linear(path, dimensions_, out, path.has("bias")), module.activation});
    weights.check();
    weight_bytes_ += weights.evaluate();
    for (const auto& file : files) file->check();
    dimensions_ = out;
  }
}

mx::array EmbeddingHead::through_dense(mx::array x) const {
  for (const Dense& dense : dense_) x = mx::astype(function_of(dense.activation)(dense.linear(x)), mx::float32);
  return x;
}

mx::array EmbeddingHead::token_vectors(const mx::array& hidden) const {
  const PhaseScope scope(Phase::encode);
  return normalized(through_dense(mx::astype(hidden, mx::float32)));
}

mx::array EmbeddingHead::operator()(const mx::array& hidden, const std::vector<int>& lengths,
                                    const std::vector<int>& prompt_tokens, int dimensions) const {
  if (dimensions < 0 || dimensions > dimensions_) {
    throw Error(ErrorKind::invalid,
                fmt::format("[embedding] dimensions must be in [1, {}], got {}", dimensions_, dimensions));
  }
  const PhaseScope scope(Phase::encode);
  const mx::array states = mx::astype(hidden, mx::float32);
  std::vector<mx::array> pooled;
  for (const Pooling pooling : pipeline_.poolings) {
    pooled.push_back(pool(pooling, states, lengths, pipeline_.include_prompt ? std::vector<int>{} : prompt_tokens));
  }
  mx::array x = pooled.size() == 1 ? pooled.front() : mx::concatenate(pooled, -1);
  x = through_dense(std::move(x));
  if (dimensions > 0 && dimensions < dimensions_) x = mx::slice(x, {0, 0}, {x.shape(0), dimensions});
  return pipeline_.normalize ? normalized(x) : x;
}

}  // namespace mlxk
