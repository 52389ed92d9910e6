// Gemma 3n (transformers' gemma3n; AltUp: https://arxiv.org/abs/2301.13310, LAuReL: https://arxiv.org/abs/2411.07501):
// each token has several streams, of which a layer computes one and predicts and corrects the others; per-layer
// embeddings; MLPs that keep only the largest gates; last layers that read the keys and values of earlier ones.
#include <algorithm>
#include <cmath>
#include <optional>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/language_model.h"
#include "models/text/per_layer_input.h"
#include "models/text/shared_kv.h"

namespace mlxk {
namespace {

// Defaults of transformers' class: text_config of multimodal checkpoints leaves out values equal to them.
constexpr BlockOptions kGemma3n{.defaults = {.hidden_size = 2048,
                                             .num_hidden_layers = 35,
                                             .num_attention_heads = 8,
                                             .num_key_value_heads = 2,
                                             .head_dim = 256,
                                             .vocab_size = 262400,
                                             .intermediate_size = 16384,
                                             .max_position_embeddings = 32768,
                                             .activation = "gelu_pytorch_tanh",
                                             .sliding_window = 512,
                                             .sliding_window_pattern = 5},
                                .names = {.embedding = "embed_tokens",
                                          .layers = "layers",
                                          .norm = "norm",
                                          .attention_post_norm = "post_attention_layernorm"},
                                .qk_norm = QkNorm::before_rope,
                                .v_norm = true,
                                .theta = 1e6};

/// The parts of Gemma 3n beyond a block.
struct Gemma3nConfig : BlockConfig {
  SharedKv shared;
  std::vector<int> intermediate_sizes;  // of each layer
  std::vector<double> sparsity;         // per layer, the share of its gates that become 0
  int streams, active;                  // altup_num_inputs, altup_active_idx
  bool scales_active;                   // altup_correct_scale
  int laurel_rank;
  int per_layer_dims, per_layer_vocab;
};

/// The factor for which a share `sparsity` of normally distributed numbers is below mean + factor · standard deviation.
float quantile(double sparsity) {
  return static_cast<float>(std::sqrt(2.0) * mx::erfinv(mx::array(static_cast<float>(2 * sparsity - 1))).item<float>());
}

/// x times the factors [B, L, streams], as streams [B, L, streams, hidden].
mx::array spread(const mx::array& factors, const mx::array& x) {
  return mx::multiply(mx::expand_dims(factors, -1), mx::expand_dims(x, 2));
}

mx::array stream(const mx::array& streams, int i) {
  return mx::squeeze(mx::slice(streams, {0, 0, i, 0}, {streams.shape(0), streams.shape(1), i + 1, streams.shape(3)}),
                     2);
}

/// The root mean square of each vector.
mx::array magnitude(const mx::array& x) {
  return mx::sqrt(mx::maximum(mx::mean(mx::square(x), -1, true), mx::array(1e-5F, x.dtype())));
}

/// Predicts a layer's result for each stream, and corrects the predictions by the layer's result for the active one.
class AltUp {
 public:
  AltUp(const Gemma3nConfig& c, const WeightPath& path)
      : streams_(c.streams),
        active_(c.active),
        input_scale_(1 / static_cast<float>(c.hidden_size)),
        norm_(RmsNorm(path / "router_norm", c.hidden_size, c.norm_eps)),
        router_(path / "modality_router", c.hidden_size, c.streams),
        prediction_(path / "prediction_coefs", c.streams, c.streams * c.streams),
        correction_(path / "correction_coefs", c.streams, c.streams),
        active_scale_(path.take("correct_output_scale", {c.hidden_size})) {}

  /// x [B, L, streams, hidden] → the same.
  mx::array predict(const mx::array& x) const {
    const mx::array factors = prediction_(modalities(stream(x, active_)));  // [B, L, to * from]
    mx::array sum = x;
    for (int from = 0; from < streams_; ++from) {
      const mx::array of = mx::slice(factors, {0, 0, from}, factors.shape(), {1, 1, streams_});
      sum = mx::add(sum, spread(of, stream(x, from)));
    }
    return sum;
  }

  mx::array correct(const mx::array& predicted, const mx::array& active) const {
    const mx::array factors = correction_(modalities(active));
    const mx::array innovation = mx::subtract(active, stream(predicted, active_));
    return mx::add(predicted, spread(mx::add(factors, mx::array(1.0F, factors.dtype())), innovation));
  }

  mx::array scaled(const mx::array& active) const {
    return mx::multiply(active, mx::astype(active_scale_, active.dtype()));
  }

 private:
  mx::array modalities(const mx::array& x) const {
    const mx::array in = norm_(x);
    return mx::tanh(router_(mx::multiply(in, mx::array(input_scale_, in.dtype()))));
  }

  int streams_, active_;
  float input_scale_;
  Norm norm_;
  Linear router_, prediction_, correction_;
  mx::array active_scale_;
};

/// The MLP with its norms and residual; gates below a cutoff become 0.
struct SparseMlp {
  GatedMlpResidual mlp;
  std::optional<float> cutoff;  // in standard deviations above the mean; nullopt: all gates are kept

  mx::array operator()(const mx::array& x) const {
    if (!cutoff) return mlp(x);
    const mx::array h = (*mlp.norm)(x), gates = mlp.gate(h);
    const mx::array deviation = mx::multiply(mx::std(gates, -1, true), mx::array(*cutoff, gates.dtype()));
    const mx::array least = mx::add(mx::mean(gates, -1, true), deviation);
    const mx::array kept = mx::maximum(mx::subtract(gates, least), mx::array(0.0F, gates.dtype()));
    const mx::array inner = mx::multiply(activate(mlp.activation, kept), mlp.up(h));
    return mx::add(x, (*mlp.post_norm)(mlp.down(inner)));
  }
};

SparseMlp make_mlp(const Gemma3nConfig& c, int layer, const WeightPath& path) {
  const int wide = c.intermediate_sizes[static_cast<size_t>(layer)];
  const double sparsity = c.sparsity[static_cast<size_t>(layer)];
  const WeightPath mlp = path / "mlp";
  return {{RmsNorm(path / "pre_feedforward_layernorm", c.hidden_size, c.norm_eps),
           Linear(mlp / "gate_proj", c.hidden_size, wide), Linear(mlp / "up_proj", c.hidden_size, wide),
           Linear(mlp / "down_proj", wide, c.hidden_size),
           RmsNorm(path / "post_feedforward_layernorm", c.hidden_size, c.norm_eps), c.activation},
          sparsity > 0 ? std::optional(quantile(sparsity)) : std::nullopt};
}

class Gemma3nLayer : public DecoderLayer {
 public:
  Gemma3nLayer(const Gemma3nConfig& c, const BlockConfig& own, int layer, const WeightPath& path)
      : shared_(c.shared),
        layer_(layer),
        window_(c.window(layer)),
        active_(c.active),
        scales_active_(c.scales_active),
        altup_(c, path / "altup"),
        attention_(make_block_attention(own, layer, path)),
        laurel_left_(path / "laurel" / "linear_left", c.hidden_size, c.laurel_rank),
        laurel_right_(path / "laurel" / "linear_right", c.laurel_rank, c.hidden_size),
        laurel_norm_(RmsNorm(path / "laurel" / "post_laurel_norm", c.hidden_size, c.norm_eps)),
        mlp_(make_mlp(c, layer, path)),
        per_layer_(path, c, c.per_layer_dims) {
    attention_.attention.mask.window = shared_.mask_window(layer, window_);
  }

  /// x [B, L, streams, hidden] → the same.
  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array predicted = altup_.predict(x), active = stream(predicted, active_);
    const mx::array normed = (*attention_.qkv.norm)(active);
    const mx::array laurel = mx::add(normed, laurel_norm_(laurel_right_(laurel_left_(normed))));
    const mx::array both = mx::add(attention_(active, caches.attention(), in), laurel);
    const mx::array computed = mlp_(mx::multiply(both, mx::array(std::sqrt(0.5F), both.dtype())));
    const mx::array corrected = altup_.correct(predicted, computed);
    mx::array first = stream(corrected, active_);
    if (scales_active_) first = altup_.scaled(first);
    first = per_layer_(first, in.extras[static_cast<size_t>(layer_)]);
    // It is added to all streams but the first.
    const mx::array gets = mx::astype(mx::greater(mx::arange(x.shape(2)), mx::array(0)), x.dtype());
    return mx::add(corrected, spread(mx::reshape(gets, {1, 1, x.shape(2)}), first));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    return shared_.make_caches(layer_, rows, window_);
  }
  int shares_caches_of() const override { return shared_.source[static_cast<size_t>(layer_)]; }

 private:
  SharedKv shared_;
  int layer_, window_, active_;
  bool scales_active_;
  AltUp altup_;
  SelfAttention attention_;
  Linear laurel_left_, laurel_right_;
  Norm laurel_norm_;
  SparseMlp mlp_;
  PerLayerInput per_layer_;
};

/// Converts from one embedding to the streams and back.
struct Streams {
  std::vector<Linear> projections, unembeddings;  // for all streams but the first

  /// h [B, L, hidden] → [B, L, streams, hidden], all of h's magnitude.
  mx::array spread_out(const mx::array& h) const {
    std::vector<mx::array> all{h};
    for (const Linear& projection : projections) all.push_back(like(projection(h), h));
    return mx::stack(all, 2);
  }

  /// The mean of the streams, each projected and scaled to the first one's magnitude.
  mx::array joined(const mx::array& x) const {
    const mx::array first = stream(x, 0);
    mx::array sum = first;
    for (size_t i = 0; i < unembeddings.size(); ++i) {
      sum = mx::add(sum, like(unembeddings[i](stream(x, static_cast<int>(i) + 1)), first));
    }
    return mx::divide(sum, mx::array(static_cast<float>(x.shape(2)), sum.dtype()));
  }

 private:
  static mx::array like(const mx::array& x, const mx::array& of) {
    return mx::multiply(x, mx::divide(magnitude(of), magnitude(x)));
  }
};

std::vector<double> numbers(const Config& config, const char* key, int layers, double low, double high) {
  const Json* list = config.find(key);
  if (list && !list->is_array()) return std::vector<double>(static_cast<size_t>(layers), config.number(key, low, high));
  if (!list || list->size() != static_cast<size_t>(layers)) {
    throw config.bad(key, "must have an entry for each layer");
  }
  std::vector<double> all;
  for (const Json& value : *list) {
    if (!value.is_number() || value.get<double>() < low || value.get<double>() > high) {
      throw config.bad(key, "has an entry out of range: " + value.dump());
    }
    all.push_back(value.get<double>());
  }
  return all;
}

Gemma3nConfig read_gemma3n(const Config& config) {
  Json plain = config.json();
  plain.erase("intermediate_size");  // may be a list
  Gemma3nConfig c{read_block(Config(std::move(plain), config.place()), kGemma3n)};
  c.shared = SharedKv::read(config, c);
  c.attention_scale = 1;
  c.tie_word_embeddings = true;
  if (!config.json().contains("final_logit_softcapping")) c.final_soft_cap = 30;
  const int layers = c.num_hidden_layers;
  const auto integer_or = [&](const char* key, int fallback, int low, int high) {
    return static_cast<int>(config.integer_or(key, fallback, low, high));
  };
  c.intermediate_sizes.assign(static_cast<size_t>(layers), c.intermediate_size);
  if (config.has("intermediate_size")) {
    const auto sizes = numbers(config, "intermediate_size", layers, 1, kMaxWidth);
    c.intermediate_sizes.assign(sizes.begin(), sizes.end());
  }
  c.sparsity.assign(static_cast<size_t>(layers), 0);
  if (config.has("activation_sparsity_pattern")) {
    c.sparsity = numbers(config, "activation_sparsity_pattern", layers, 0, 0.9999);
  } else if (layers > 10) {
    std::fill_n(c.sparsity.begin(), 10, 0.95);
  }
  c.streams = integer_or("altup_num_inputs", 4, 1, 64);
  c.active = integer_or("altup_active_idx", 0, 0, c.streams - 1);
  c.scales_active = config.flag_or("altup_correct_scale", true);
  c.laurel_rank = integer_or("laurel_rank", 64, 1, kMaxWidth);
  c.per_layer_dims = integer_or("hidden_size_per_layer_input", 256, 1, kMaxWidth);
  c.per_layer_vocab = integer_or("vocab_size_per_layer_input", 262144, 1, 1 << 24);
  const RopeSettings local = RopeSettings::read_local(config, c.head_dim, 1e4, "sliding_attention");
  const RopeSettings global = RopeSettings::read(config, c.head_dim, 1e6, "full_attention");
  for (int layer = 0; layer < layers; ++layer) c.ropes[static_cast<size_t>(layer)] = c.slides(layer) ? local : global;
  return c;
}

/// The language model's tensors are below `root`; a tied model's head is beside them.
std::unique_ptr<Model> make(const Config& config, Weights& weights, const WeightPath& root) {
  Gemma3nConfig c = read_gemma3n(config);
  c.embedding_multiplier = embedding_factor(std::sqrt(double(c.hidden_size)), root / "embed_tokens");
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / "layers" / layer;
    BlockConfig own = c;
    if (c.shared.source[static_cast<size_t>(layer)] >= 0) {
      own.options.names.k = own.options.names.v = own.options.names.k_norm = nullptr;
      const std::string attention = (path / "self_attn").path();
      weights.take_unused([&](const std::string& name) {
        return name.starts_with(attention + ".k_") || name.starts_with(attention + ".v_");
      });
    }
    parts.layers.push_back(std::make_unique<Gemma3nLayer>(c, own, layer, path));
    const auto& rope = c.ropes[static_cast<size_t>(layer)];
    shape.position_stable_tokens = std::min(shape.position_stable_tokens, rope->position_stable_tokens());
  }
  Streams streams;
  for (int i = 0; i + 1 < c.streams; ++i) {
    streams.projections.emplace_back(root / "altup_projections" / i, c.hidden_size, c.hidden_size);
    streams.unembeddings.emplace_back(root / "altup_unembed_projections" / i, c.hidden_size, c.hidden_size);
  }
  parts.prepare = [streams, embedding = PerLayerEmbedding(root, c, c.per_layer_vocab, c.per_layer_dims)](
                      const mx::array& h, const Inputs& inputs, LayerInputs& in) {
    if (!inputs.ids) throw Error(ErrorKind::invalid, "[gemma3n] per-layer embeddings need the tokens' ids");
    in.extras = embedding(h, *inputs.ids);
    return streams.spread_out(h);
  };
  parts.finish = [streams](const mx::array& x, const LayerInputs&) { return streams.joined(x); };
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace

std::unique_ptr<Model> make_gemma3n_text(const Config& config, Weights& weights) {
  weights.drop([](const std::string& name) { return name.starts_with("lm_head."); });
  return make(config, weights, WeightPath(weights) / "model");
}

// The multimodal checkpoint's language model: image and audio tensors are left out.
std::unique_ptr<Model> make_gemma3n(const Config& config, Weights& weights) {
  config.object("text_config");
  const Config kept = keep_language_model(config, weights);
  Json text = kept.json();
  text["model_type"] = "gemma3n";
  weights.drop([](const std::string& name) { return name.starts_with("lm_head."); });
  return make(Config(std::move(text), kept.place()), weights, WeightPath(weights) / "model");
}

}  // namespace mlxk
