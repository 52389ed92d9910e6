#include "models/embedding/pooling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cpu/phase.h"
#include "kernels/text_sums.h"
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

/// The weights of tokens in a mean.
TextSums mean_of(Pooling pooling, const std::vector<int>& lengths, const std::vector<int>& skipped) {
  TextSums sums{lengths, {}, {}};
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int first = skipped.empty() ? 0 : std::clamp(skipped[i], 0, lengths[i] - 1);
    const float count = static_cast<float>(lengths[i] - first);
    for (int t = 0; t < lengths[i]; ++t) {
      const float place = pooling == Pooling::weightedmean ? static_cast<float>(t - first + 1) : 1;
      sums.weights.push_back(t < first ? 0 : place);
    }
    sums.divisors.push_back(pooling == Pooling::weightedmean           ? count * (count + 1) / 2
                            : pooling == Pooling::mean_sqrt_len_tokens ? std::sqrt(count)
                                                                       : count);
  }
  return sums;
}

mx::array column(const std::vector<float>& numbers) {
  return mx::array(numbers.data(), {static_cast<int>(numbers.size()), 1}, mx::float32);
}

/// by(the own tokens of a text [count, hidden]) → [1, hidden], for each text.
template <class By>
mx::array each_text(const mx::array& x, const std::vector<int>& lengths, const std::vector<int>& skipped, By by) {
  std::vector<mx::array> rows;
  int end = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int first = end + (skipped.empty() ? 0 : std::clamp(skipped[i], 0, lengths[i] - 1));
    end += lengths[i];
    rows.push_back(by(mx::slice(x, {first, 0}, {end, x.shape(1)})));
  }
  return mx::concatenate(rows, 0);
}

}  // namespace

mx::array pool(Pooling pooling, const mx::array& hidden, const std::vector<int>& lengths,
               const std::vector<int>& skipped) {
  if (pooling == Pooling::cls) return take_rows(hidden, first_rows(lengths));
  if (pooling == Pooling::lasttoken) return take_rows(hidden, last_rows(lengths));
  if (pooling == Pooling::max)
    return each_text(hidden, lengths, skipped, [](const mx::array& x) { return mx::max(x, 0, true); });
  const TextSums mean = mean_of(pooling, lengths, skipped);
  if (auto own = text_sums(hidden, mean)) return *own;
  const mx::array sums = each_text(mx::multiply(hidden, column(mean.weights)), lengths, {},
                                   [](const mx::array& x) { return mx::sum(x, 0, true); });
  return mx::divide(sums, column(mean.divisors));
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
  const PhaseScope scope(Phase::embed);
  return normalized(through_dense(mx::astype(hidden, mx::float32)));
}

mx::array EmbeddingHead::operator()(const mx::array& hidden, const std::vector<int>& lengths,
                                    const std::vector<int>& prompt_tokens, int dimensions) const {
  if (dimensions < 0 || dimensions > dimensions_) {
    throw Error(ErrorKind::invalid,
                fmt::format("[embedding] dimensions must be in [1, {}], got {}", dimensions_, dimensions));
  }
  const PhaseScope scope(Phase::embed);
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
