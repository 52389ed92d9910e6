// Moonshine (https://arxiv.org/abs/2410.15608; transformers' moonshine): three convolutions over raw samples, an
// encoder and a decoder with rotary positions. Features are [1, samples, 1]; the encoder has a frame for 384 samples.
#include <fmt/format.h>

#include <cmath>

#include "mlx/fast.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/audio/seq2seq_net.h"
#include "models/registry.h"
#include "models/step.h"
#include "nn/conv.h"
#include "nn/layer_inputs.h"

namespace mlxk {
namespace {

constexpr float kMoonshineEps = 1e-5F;
constexpr int kMinSamples = 895;  // for one frame
constexpr double kPartialRotary = 0.9;

struct Stack {
  int layers, heads;
  Activation activation;
};

struct MoonshineConfig {
  static MoonshineConfig from_json(const Config& config);

  std::string model_type;
  int vocab, hidden, inner, positions;
  bool bias, tied;
  Stack encoder, decoder;
  RopeSettings encoder_rope, decoder_rope;
};

MoonshineConfig MoonshineConfig::from_json(const Config& config) {
  constexpr int kWide = 1 << 16;
  const auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(config.integer_or(key, fallback, 1, high));
  };
  MoonshineConfig c;
  c.model_type = config.text_or("model_type", "");
  c.vocab = integer("vocab_size", 32768, 1 << 24);
  c.hidden = integer("hidden_size", 288, kWide);
  c.inner = integer("intermediate_size", 1152, kWide);
  c.positions = integer("max_position_embeddings", 512, 1 << 20);
  c.bias = config.flag_or("attention_bias", false);
  c.tied = config.flag_or("tie_word_embeddings", true);
  const auto stack = [&](const std::string& side, const char* activation, RopeSettings& rope) {
    Stack s{integer((side + "_num_hidden_layers").c_str(), 6, 1024),
            integer((side + "_num_attention_heads").c_str(), 8, 1024),
            read_activation(config.text_or((side + "_hidden_act").c_str(), activation))};
    if (c.hidden % s.heads != 0) {
      throw config.bad("hidden_size", fmt::format("must be a multiple of the {} heads, got {}", s.heads, c.hidden));
    }
    const std::string kv = side + "_num_key_value_heads";
    if (config.integer_or(kv.c_str(), s.heads, 1, 1024) != s.heads) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("[config] {} other than {}_num_attention_heads is not built in", kv, side));
    }
    rope = RopeSettings::read(config, c.hidden / s.heads, 10000, {}, kPartialRotary);
    rope.traditional = true;
    return s;
  };
  c.encoder = stack("encoder", "gelu", c.encoder_rope);
  c.decoder = stack("decoder", "silu", c.decoder_rope);
  return c;
}

LayerNorm norm(const WeightPath& path, int hidden) { return {path, hidden, kMoonshineEps, false}; }

Conv1d conv(const WeightPath& path, int in, int out, int kernel, int stride, bool bias) {
  return Conv1d(with_channels_last(path, in, kernel), in, out, kernel, {.stride = stride}, bias);
}

/// Norm, then the projections of `attention`, a layer's part that attends to its own tokens.
NormQkv self_projection(const MoonshineConfig& c, const Stack& stack, const WeightPath& path) {
  const WeightPath attention = path / "self_attn";
  return {norm(path / "input_layernorm", c.hidden),
          Linear(attention / "q_proj", c.hidden, c.hidden, c.bias),
          Linear(attention / "k_proj", c.hidden, c.hidden, c.bias),
          Linear(attention / "v_proj", c.hidden, c.hidden, c.bias),
          std::nullopt,
          std::nullopt,
          c.hidden / stack.heads};
}

float scale_of(const MoonshineConfig& c, const Stack& stack) {
  return 1 / std::sqrt(static_cast<float>(c.hidden / stack.heads));
}

struct MoonshineEncoderBlock {
  MoonshineEncoderBlock(const MoonshineConfig& c, const WeightPath& path)
      : heads(c.encoder.heads),
        scale(scale_of(c, c.encoder)),
        project(self_projection(c, c.encoder, path)),
        rope(c.encoder_rope),
        out{Linear(path / "self_attn" / "o_proj", c.hidden, c.hidden)},
        feed_forward{norm(path / "post_attention_layernorm", c.hidden),
                     Linear(path / "mlp" / "fc1", c.hidden, c.inner, true),
                     Linear(path / "mlp" / "fc2", c.inner, c.hidden, true), c.encoder.activation} {}

  mx::array operator()(const mx::array& x, const Positions& positions) const {
    const Qkv seen = project(x);
    const auto turned = [&](const mx::array& y) {
      const mx::array split = mx::transpose(mx::unflatten(y, -1, {heads, seen.head_dim}), {0, 2, 1, 3});
      return mx::flatten(mx::transpose(rope(split, positions), {0, 2, 1, 3}), 2, 3);
    };
    return feed_forward(out(attend_to_all(turned(seen.q), turned(seen.k), seen.v, heads, scale), x));
  }

  int heads;
  float scale;
  NormQkv project;
  Rope rope;
  OutResidual out;
  MlpResidual feed_forward;
};

/// fc1 holds the values, then the gate.
GatedMlpResidual gated(const MoonshineConfig& c, const WeightPath& path) {
  const auto halves = Linear(path / "mlp" / "fc1", c.hidden, 2 * c.inner, true).split({c.inner, c.inner});
  return {norm(path / "final_layernorm", c.hidden),
          halves[1],
          halves[0],
          Linear(path / "mlp" / "fc2", c.inner, c.hidden, true),
          std::nullopt,
          c.decoder.activation};
}

struct MoonshineDecoderBlock {
  MoonshineDecoderBlock(const MoonshineConfig& c, const WeightPath& path)
      : scale(scale_of(c, c.decoder)),
        project(self_projection(c, c.decoder, path)),
        attention{Rope(c.decoder_rope), std::nullopt, std::nullopt, {scale}},
        out{Linear(path / "self_attn" / "o_proj", c.hidden, c.hidden)},
        query{norm(path / "post_attention_layernorm", c.hidden),
              Linear(path / "encoder_attn" / "q_proj", c.hidden, c.hidden, c.bias)},
        encoded{Linear(path / "encoder_attn" / "k_proj", c.hidden, c.hidden, c.bias),
                Linear(path / "encoder_attn" / "v_proj", c.hidden, c.hidden, c.bias), c.decoder.heads},
        cross_out{Linear(path / "encoder_attn" / "o_proj", c.hidden, c.hidden)},
        feed_forward(gated(c, path)) {}

  mx::array operator()(const mx::array& x, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                       const std::vector<const CrossKeys*>& sound) const {
    const mx::array h = out(attention(project(x), cache, mask, positions), x);
    return feed_forward(cross_out(attend_across(query(h), sound, scale), h));
  }

  float scale;
  NormQkv project;
  Attention attention;
  OutResidual out;
  NormLinear query;
  CrossProjection encoded;
  OutResidual cross_out;
  GatedMlpResidual feed_forward;
};

/// Group norm of one group: over all frames and channels of a window together.
struct WindowNorm {
  WindowNorm(const WeightPath& path, int channels)
      : weight(path.take("weight", {channels})), bias(path.take("bias", {channels})) {}
  mx::array operator()(const mx::array& x) const {
    const mx::array flat = mx::reshape(mx::astype(x, mx::float32), {1, -1});
    const mx::array even =
        mx::reshape(mx::fast::layer_norm(flat, std::nullopt, std::nullopt, kMoonshineEps), x.shape());
    return mx::add(mx::multiply(mx::astype(even, x.dtype()), weight), bias);
  }

  mx::array weight, bias;
};

class Moonshine : public Seq2SeqNet {
 public:
  Moonshine(const MoonshineConfig& c, const WeightPath& root)
      : Seq2SeqNet({.model_type = c.model_type, .vocab_size = c.vocab, .mels = 1, .text_positions = c.positions},
                   {c.model_type, c.vocab, c.hidden, c.decoder.layers, c.positions}),
        type_(root.weights().activation_type()),
        conv1_(conv(root / "encoder" / "conv1", 1, c.hidden, 127, 64, false)),
        conv2_(conv(root / "encoder" / "conv2", c.hidden, 2 * c.hidden, 7, 3, true)),
        conv3_(conv(root / "encoder" / "conv3", 2 * c.hidden, c.hidden, 3, 2, true)),
        window_norm_(root / "encoder" / "groupnorm", c.hidden),
        encoder_norm_(norm(root / "encoder" / "layer_norm", c.hidden)),
        embedding_(root / "decoder" / "embed_tokens", c.vocab, c.hidden),
        decoder_norm_(norm(root / "decoder" / "norm", c.hidden)) {
    for (int i = 0; i < c.encoder.layers; ++i) encoder_.emplace_back(c, root / "encoder" / "layers" / i);
    for (int i = 0; i < c.decoder.layers; ++i) decoder_.emplace_back(c, root / "decoder" / "layers" / i);
    if (!c.tied) head_.emplace(root / "proj_out", c.hidden, c.vocab);
  }

  EncodedAudio encode(const mx::array& features) const override {
    if (features.ndim() != 3 || features.shape(1) < kMinSamples || features.shape(2) != 1) {
      throw Error(ErrorKind::invalid, fmt::format("[moonshine] features must be [1, n, 1], n from {}", kMinSamples));
    }
    mx::array x = window_norm_(mx::tanh(conv1_(mx::astype(features, type_))));
    x = activate(Activation::gelu, conv3_(activate(Activation::gelu, conv2_(x))));
    const Positions positions({0}, x.shape(1));
    std::vector<mx::array> stages{x};
    for (const auto& block : encoder_) stages.push_back(block(stages.back(), positions));
    return {encoder_norm_(stages.back()), std::move(stages)};
  }

  mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const WindowKeys*>& windows,
                    bool last_only) const override {
    const Inputs inputs{.ids = ids, .last_only = last_only};
    const Positions positions = text_positions_of(inputs, cache, windows);
    mx::array x = embedding_(ids);
    LayerMasks masks(std::nullopt, positions);
    for (size_t i = 0; i < decoder_.size(); ++i) {
      AttentionCache& layer = attention_cache(cache, i);
      x = decoder_[i](x, layer, masks.of(layer), positions, keys_of(windows, i));
    }
    x = wanted_tokens(decoder_norm_(x), inputs, positions);
    return mx::astype(head_ ? (*head_)(x) : embedding_.as_linear(x), mx::float32);
  }

  /// No head is known to follow the audio.
  Aligned align(const mx::array& ids, const WindowKeys& window) const override {
    ModelCache cache = make_cache(1);
    return {forward(ids, cache, {&window}, false), {}};
  }

 private:
  const CrossProjection& cross_projection(int layer) const override {
    return decoder_[static_cast<size_t>(layer)].encoded;
  }

  mx::Dtype type_;
  Conv1d conv1_, conv2_, conv3_;
  WindowNorm window_norm_;
  std::vector<MoonshineEncoderBlock> encoder_;
  LayerNorm encoder_norm_;
  Embedding embedding_;
  std::vector<MoonshineDecoderBlock> decoder_;
  LayerNorm decoder_norm_;
  std::optional<Linear> head_;  // absent: the embedding
};

}  // namespace

std::unique_ptr<SpeechNet> make_moonshine(const Config& config, Weights& weights) {
  const MoonshineConfig c = MoonshineConfig::from_json(config);
  strip_prefix(weights, "model.");
  weights.drop([&](const std::string& name) {
    return name.ends_with("rotary_emb.inv_freq") || (c.tied && name == "proj_out.weight");
  });
  return std::make_unique<Moonshine>(c, WeightPath(weights));
}

}  // namespace mlxk
