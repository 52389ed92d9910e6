#pragma once

#include <mlx/ops.h>
#include <mlx/random.h>

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/ops.h"
#include "models/model.h"
#include "nn/attention.h"
#include "nn/cache/kv_cache.h"
#include "nn/cache/quantized_kv_cache.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/cache/rotating_cache.h"

namespace mlxk {

/// A model of two layers with one kind of cache and, on request, a third layer with a state.
class SmallModel : public Model {
 public:
  using MakeCache = std::function<std::unique_ptr<Cache>(int rows)>;
  static constexpr int kVocab = 96, kHidden = 64, kPoison = 95;

  /// Equal seeds give equal models.
  SmallModel(MakeCache make, bool has_state, uint64_t seed = 0)
      : Model({"small", kVocab, kHidden, has_state ? 3 : 2, 0}),
        make_(std::move(make)),
        has_state_(has_state),
        seed_(8 * seed) {}

  mx::array hidden(const Inputs& inputs, ModelCache& cache) override {
    const Positions at(cache.positions(), inputs.ids->shape(1), inputs.lengths);
    mx::array h = mx::take(table_, *inputs.ids, 0);
    for (size_t i = 0; i < 2; ++i) {
      auto& layer = dynamic_cast<AttentionCache&>(cache[i]);
      const auto parts = cpu_matmuls(h, qkv_);
      h = mx::add(h, attention_({parts[0], parts[1], parts[2], kHidden / 2, {}, {}}, layer, layer.mask(at), at));
    }
    if (has_state_) h = with_state(h, dynamic_cast<RecurrentCache&>(cache[2]), at);
    return mx::slice(h, {0, inputs.last_only ? at.length - 1 : 0, 0}, {at.rows(), at.length, kHidden});
  }
  mx::array logits(const mx::array& hidden) const override { return cpu_matmuls(hidden, head_).front(); }
  ModelCache make_cache(int rows) const override {
    std::vector<std::unique_ptr<Cache>> layers;
    for (int i = 0; i < 2; ++i) layers.push_back(make_(rows));
    if (has_state_) layers.push_back(std::make_unique<RecurrentCache>(rows, 1));
    return ModelCache(std::move(layers));
  }

 private:
  /// A head in which only rows of index kPoison hold `poison`: that token makes logits that are not finite, and it is
  /// never the likeliest.
  static mx::array random_rows(int rows, uint64_t seed, float poison) {
    mx::array all = mx::multiply(mx::random::normal({rows, kHidden}, mx::random::key(seed)), mx::array(0.2F));
    const mx::array poisoned =
        mx::reshape(mx::equal(mx::arange(rows), mx::array(static_cast<int>(kPoison))), {rows, 1});
    all = mx::where(poisoned, mx::array(poison), all);
    all.eval();
    return all;
  }
  static MatrixWeights matrix(int rows, uint64_t seed) {
    return {random_rows(rows, seed, 0), {}, {}, {}, rows, kHidden};
  }

  static mx::array with_state(const mx::array& h, RecurrentCache& state, const Positions& at) {
    std::vector<mx::array> steps;
    for (int i = 0; i < at.length; ++i) {
      const mx::array x = mx::slice(h, {0, i, 0}, {at.rows(), i + 1, kHidden});
      const mx::array before = state.state(0) ? *state.state(0) : mx::zeros_like(x);
      state.set_state(0, mx::add(mx::multiply(before, mx::array(0.9F)), x));
      steps.push_back(*state.state(0));
    }
    state.advance(at);
    return mx::concatenate(steps, 1);
  }

  MakeCache make_;
  bool has_state_;
  uint64_t seed_;
  mx::array table_ = random_rows(kVocab, seed_ + 1, std::nanf(""));
  Packed qkv_ = cpu_layer({matrix(kHidden, seed_ + 2), matrix(kHidden / 2, seed_ + 3), matrix(kHidden / 2, seed_ + 4)});
  Packed head_ = cpu_layer({matrix(kVocab, seed_ + 5)});
  Attention attention_{{}, {}, {}, 0.2F};
};

struct SmallKind {
  const char* name;
  SmallModel::MakeCache make;
};
inline const std::vector<SmallKind> kSmallKinds{
    {"full", [](int rows) { return std::make_unique<KVCache>(rows); }},
    {"rotating", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 16); }},
    {"keeping", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 16, 3); }},
    {"quantized", [](int rows) { return std::make_unique<QuantizedKVCache>(rows, 8, 32); }}};

}  // namespace mlxk
