// RWKV-7 (https://arxiv.org/abs/2503.14456), as mlx-lm computes it: every layer mixes each token with the one before
// it, updates a matrix per head by a delta rule, and mixes again in an MLP with squared ReLU. The value of the first
// layer is passed on behind x, and the other layers interpolate towards it.
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/decoder.h"
#include "nn/causal_conv.h"
#include "nn/scan.h"

namespace mlxk {
namespace {

struct Shape {
  int hidden, intermediate, heads, dim;
  float eps;
};

/// Each token's predecessor, which for the first token is the last one of earlier calls, in state `index`: x [B, L,
/// hidden] → the same.
mx::array predecessors(const mx::array& x, RecurrentCache& cache, int index, const Positions& at) {
  const auto& state = cache.state(index);
  const mx::array seen = mx::concatenate({state ? *state : mx::zeros({x.shape(0), 1, x.shape(2)}, x.dtype()), x}, 1);
  cache.set_state(index, last_inputs(seen, 1, at));
  return mx::slice(seen, {0, 0, 0}, x.shape());
}

/// out(act(in(x))) with a low rank.
class LowRank {
 public:
  LowRank(const WeightPath& path, int hidden, int rank, bool bias, std::optional<Activation> activation = std::nullopt)
      : in_(path / "lora" / 0, hidden, rank), out_(path / "lora" / 2, rank, hidden, bias), activation_(activation) {}
  mx::array operator()(const mx::array& x) const {
    const mx::array y = in_(x);
    return out_(activation_ ? activate(*activation_, y) : y);
  }

 private:
  Linear in_, out_;
  std::optional<Activation> activation_;
};

mx::array logistic(const mx::array& x) { return activate(Activation::sigmoid, x); }

class TimeMixing {
 public:
  TimeMixing(const Config& config, const Shape& s, bool first, const WeightPath& path)
      : shape_(s),
        shifts_{shift(path, "x_r"), shift(path, "x_w"), shift(path, "x_k"),
                shift(path, "x_v"), shift(path, "x_a"), shift(path, "x_g")},
        k_k_(heads(path, "k_k")),
        k_a_(heads(path, "k_a")),
        r_k_(heads(path, "r_k")),
        r_(path / "r_proj", s.hidden, s.hidden),
        k_(path / "k_proj", s.hidden, s.hidden),
        v_(path / "v_proj", s.hidden, s.hidden),
        out_(path / "o_proj", s.hidden, s.hidden),
        norm_(s.dim, 64e-5F),
        norm_weight_(heads(path / "g_norm", "weight")),
        norm_bias_(heads(path / "g_norm", "bias")),
        w_lora_(path / "w_lora", s.hidden, rank(config, "decay_low_rank_dim"), true, Activation::tanh),
        a_lora_(path / "a_lora", s.hidden, rank(config, "a_low_rank_dim"), true),
        g_lora_(path / "g_lora", s.hidden, rank(config, "gate_low_rank_dim"), false, Activation::sigmoid) {
    if (!first) v_lora_.emplace(path / "v_lora", s.hidden, rank(config, "v_low_rank_dim"), true);
  }

  /// x [B, L, hidden], normed; the first layer sets `first_value` [B, L, hidden], the others read it.
  mx::array operator()(const mx::array& x, std::optional<mx::array>& first_value, RecurrentCache& cache,
                       const Positions& at) const {
    const mx::array step = mx::subtract(predecessors(x, cache, 0, at), x);
    const auto shifted = [&](int i) { return mx::add(x, mx::multiply(step, shifts_[i])); };
    const auto by_head = [&](const mx::array& v) {
      return mx::reshape(v, {v.shape(0), v.shape(1), shape_.heads, shape_.dim});
    };
    const mx::array xv = shifted(3);
    mx::array value = v_(xv);
    if (v_lora_) {
      value = mx::add(value, mx::multiply(mx::subtract(*first_value, value), logistic((*v_lora_)(xv))));
    } else {
      first_value = value;
    }
    const mx::array r = by_head(r_(shifted(0))), v = by_head(value), key = by_head(k_(shifted(2)));
    const mx::array decay = mx::exp(mx::multiply(mx::array(-0.606531F, x.dtype()), logistic(w_lora_(shifted(1)))));
    const mx::array rate = by_head(logistic(a_lora_(shifted(4)))), gate = g_lora_(shifted(5));
    const mx::array removed = unit(mx::multiply(key, k_k_)), one(1.0F, x.dtype());
    const mx::array k = mx::multiply(key, mx::add(one, mx::multiply(mx::subtract(rate, one), k_a_)));
    const Scanned scanned = scan(DeltaRule{.r = r,
                                           .w = by_head(decay),
                                           .k = k,
                                           .v = v,
                                           .a = mx::negative(removed),
                                           .b = mx::multiply(removed, rate),
                                           .state = cache.state(1),
                                           .lengths = at.lengths});
    cache.set_state(1, scanned.state);
    const mx::array normed = mx::add(mx::multiply(norm_(scanned.y), norm_weight_), norm_bias_);
    const mx::array own = mx::sum(mx::multiply(mx::multiply(r, k), r_k_), -1, true);
    const mx::array y = mx::reshape(mx::add(normed, mx::multiply(own, v)), x.shape());
    return out_(mx::multiply(y, gate));
  }

 private:
  static int rank(const Config& config, const char* key) { return static_cast<int>(config.integer(key, 1, 1 << 20)); }
  mx::array shift(const WeightPath& path, const char* name) const { return path.take(name, {1, 1, shape_.hidden}); }
  /// A vector with all heads' numbers, which may be stored as one row.
  mx::array heads(const WeightPath& path, const char* name) const {
    const auto found = path.weights().tensors().find((path / name).path());
    if (found != path.weights().tensors().end() && found->second.shape() == mx::Shape{shape_.hidden}) {
      found->second = mx::reshape(found->second, {shape_.heads, shape_.dim});
    }
    return path.take(name, {shape_.heads, shape_.dim});
  }
  /// Each head's vector, of length 1.
  static mx::array unit(const mx::array& x) {
    const mx::array length = mx::sqrt(mx::sum(mx::square(x), -1, true));
    return mx::divide(x, mx::maximum(length, mx::array(1e-7F, x.dtype())));
  }

  Shape shape_;
  std::vector<mx::array> shifts_;  // of r, w, k, v, a, g
  mx::array k_k_, k_a_, r_k_;
  Linear r_, k_, v_, out_;
  LayerNorm norm_;
  mx::array norm_weight_, norm_bias_;
  LowRank w_lora_, a_lora_, g_lora_;
  std::optional<LowRank> v_lora_;
};

class ChannelMixing {
 public:
  ChannelMixing(const Shape& s, const WeightPath& path)
      : shift_(path.take("x_k", {s.hidden})),
        key_(path / "key", s.hidden, s.intermediate),
        value_(path / "value", s.intermediate, s.hidden) {}

  mx::array operator()(const mx::array& x, RecurrentCache& cache, const Positions& at) const {
    const mx::array step = mx::subtract(predecessors(x, cache, 2, at), x);
    return value_(activate(Activation::relu_squared, key_(mx::add(x, mx::multiply(step, shift_)))));
  }

 private:
  mx::array shift_;
  Linear key_, value_;
};

class Rwkv7Layer : public DecoderLayer {
 public:
  Rwkv7Layer(const Config& config, const Shape& s, bool first, const WeightPath& path)
      : attention_norm_(path / "attn_norm", s.hidden, s.eps),
        mlp_norm_(path / "ffn_norm", s.hidden, s.eps),
        attention_(config, s, first, path / "attn"),
        mlp_(s, path / "ffn") {
    if (first) pre_norm_.emplace(path / "pre_norm", s.hidden, s.eps);
  }

  /// The first layer's value is behind x, except before that layer.
  mx::array operator()(const mx::array& both, const LayerCaches& caches, const LayerInputs& in) const override {
    RecurrentCache& cache = caches.recurrent();
    std::optional<mx::array> first_value;
    mx::array x = both;
    if (pre_norm_) {
      x = (*pre_norm_)(both);
    } else {
      const auto parts = mx::split(both, 2, -1);
      x = parts[0];
      first_value = parts[1];
    }
    x = mx::add(x, attention_(attention_norm_(x), first_value, cache, in.positions));
    x = mx::add(x, mlp_(mlp_norm_(x), cache, in.positions));
    cache.advance(in.positions);
    return mx::concatenate({x, *first_value}, -1);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return recurrent_cache(rows, 3); }

 private:
  std::optional<LayerNorm> pre_norm_;
  LayerNorm attention_norm_, mlp_norm_;
  TimeMixing attention_;
  ChannelMixing mlp_;
};

}  // namespace

std::unique_ptr<Model> make_rwkv7(const Config& config, Weights& weights) {
  const auto integer = [&](const char* key) { return static_cast<int>(config.integer(key, 1, 1 << 20)); };
  const int hidden = integer("hidden_size"), dim = integer("head_dim");
  if (hidden % dim != 0) throw config.bad("head_dim", "must divide hidden_size, got " + std::to_string(dim));
  const auto eps = static_cast<float>(config.number_or("norm_eps", 1e-5, 0, 1));
  const Shape shape{hidden, integer("intermediate_size"), hidden / dim, dim, eps};
  const auto vocab = static_cast<int>(config.integer("vocab_size", 1, 1 << 24));
  const auto layers = static_cast<int>(config.integer("num_hidden_layers", 1, 1024));
  const WeightPath root(weights);
  Decoder::Parts parts{Embedding(root / "model" / "embeddings", vocab, hidden)};
  for (int layer = 0; layer < layers; ++layer) {
    parts.layers.push_back(std::make_unique<Rwkv7Layer>(config, shape, layer == 0, root / "model" / "layers" / layer));
  }
  parts.finish = [](const mx::array& both, const LayerInputs&) { return mx::split(both, 2, -1)[0]; };
  parts.norm = LayerNorm(root / "model" / "norm", hidden, eps);
  if (!config.flag_or("tie_word_embeddings", false)) parts.head.emplace(root / "lm_head", hidden, vocab);
  ModelShape model{config.text_or("model_type", ""), vocab, hidden, layers,
                   config.integer_or("max_position_embeddings", 0, 1, int64_t{1} << 31)};
  return std::make_unique<Decoder>(std::move(model), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
