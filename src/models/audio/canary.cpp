// Canary (https://arxiv.org/abs/2509.14128, https://arxiv.org/abs/2503.05931; NeMo's EncDecMultiTaskModel): a
// FastConformer and a transformer decoder. The decoder's prompt says which language is spoken and which one to write.
// config.json is NeMo's model configuration, or transformers' (canary); tensors may have NeMo's names, those of
// mlx-audio, those of canary-mlx or those of transformers.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/fast_conformer.h"
#include "models/audio/seq2seq_net.h"
#include "models/registry.h"
#include "models/step.h"
#include "nn/layer_inputs.h"
#include "nn/mlp.h"

namespace mlxk {
namespace {

constexpr float kCanaryEps = 1e-5F;
constexpr int kCanaryWide = 1 << 16, kCanaryVocab = 1 << 22, kCanaryPositions = 1 << 20;

struct CanaryConfig {
  static CanaryConfig from_nemo(const Config& config);
  static CanaryConfig from_transformers(const Config& config);

  FastConformerConfig encoder;
  int vocab, hidden, inner, heads, layers, positions;
  bool transformers;  // whose vectors of positions hold all sines before all cosines
};

Error not_built_in(const Config& config, const char* key, const std::string& value) {
  return Error(ErrorKind::unsupported, fmt::format("[{}] {} {} is not built in", config.place(), key, value));
}

/// The decoder's section of NeMo's configuration, whose sizes may be one level deeper.
Config decoder_section(const Config& config) {
  const Config section = config.object("transf_decoder");
  for (const char* key : {"config_dict", "decoder"}) {
    if (section.has(key)) return section.object(key);
  }
  return section;
}

CanaryConfig CanaryConfig::from_nemo(const Config& config) {
  CanaryConfig c{};
  c.encoder = FastConformerConfig::from_nemo(config.object("encoder"));
  const Config decoder = decoder_section(config);
  const auto size = [&](const char* key, int high) { return static_cast<int>(decoder.integer(key, 1, high)); };
  c.hidden = size("hidden_size", kCanaryWide);
  c.inner = size("inner_size", 1 << 18);
  c.heads = size("num_attention_heads", 1024);
  c.layers = size("num_layers", 1024);
  c.positions = static_cast<int>(decoder.integer_or("max_sequence_length", 1024, 1, kCanaryPositions));
  if (config.integer_or("enc_output_dim", c.hidden, 1, kCanaryWide) != c.hidden) {
    throw config.bad("enc_output_dim", fmt::format("must be the decoder's hidden_size, {}", c.hidden));
  }
  if (const std::string act = decoder.text_or("hidden_act", "relu"); act != "relu") {
    throw not_built_in(decoder, "hidden_act", "'" + act + "'");
  }
  for (const char* key : {"pre_ln", "pre_ln_final_layer_norm"}) {
    if (!decoder.flag_or(key, true)) throw not_built_in(decoder, key, "false");
  }
  if (decoder.flag_or("learn_positional_encodings", false)) {
    throw not_built_in(decoder, "learn_positional_encodings", "true");
  }
  if (config.has("transf_encoder") && config.object("transf_encoder").integer_or("num_layers", 0, 0, 1024) > 0) {
    throw not_built_in(config.object("transf_encoder"), "num_layers", "> 0");
  }
  const bool top = config.has("vocab_size"),
             headed = !top && config.has("head") && config.object("head").has("num_classes");
  c.vocab = static_cast<int>(top      ? config.integer("vocab_size", 2, kCanaryVocab)
                             : headed ? config.object("head").integer("num_classes", 2, kCanaryVocab)
                                      : decoder.integer("vocab_size", 2, kCanaryVocab));
  if (c.hidden % (2 * c.heads) != 0) {
    throw decoder.bad("hidden_size",
                      fmt::format("must be an even multiple of the {} heads, got {}", c.heads, c.hidden));
  }
  return c;
}

CanaryConfig CanaryConfig::from_transformers(const Config& config) {
  CanaryConfig c{};
  c.transformers = true;
  c.encoder = FastConformerConfig::from_transformers(config.object("encoder_config"));
  const Config decoder = config.has("decoder_config") ? config.object("decoder_config")
                                                      : Config(Json::object(), config.place() + " decoder_config");
  const auto size = [&](const char* key, int fallback, int high) {
    return static_cast<int>(decoder.integer_or(key, fallback, 1, high));
  };
  c.hidden = size("hidden_size", 1024, kCanaryWide);
  c.inner = size("intermediate_size", 4096, 1 << 18);
  c.heads = size("num_attention_heads", 8, 1024);
  c.layers = size("num_hidden_layers", 8, 1024);
  c.positions = size("max_position_embeddings", 1024, kCanaryPositions);
  c.vocab = static_cast<int>(config.integer_or("vocab_size", 16384, 2, kCanaryVocab));
  if (c.hidden % (2 * c.heads) != 0) {
    throw decoder.bad("hidden_size",
                      fmt::format("must be an even multiple of the {} heads, got {}", c.heads, c.hidden));
  }
  if (c.encoder.hidden != c.hidden) {
    throw decoder.bad("hidden_size", fmt::format("must be the encoder's {}, got {}", c.encoder.hidden, c.hidden));
  }
  if (size("num_key_value_heads", c.heads, 1024) != c.heads) {
    throw not_built_in(decoder, "num_key_value_heads", "other than num_attention_heads");
  }
  if (size("head_dim", c.hidden / c.heads, kCanaryWide) != c.hidden / c.heads) {
    throw not_built_in(decoder, "head_dim", "other than hidden_size / num_attention_heads");
  }
  if (!decoder.flag_or("attention_bias", true)) throw not_built_in(decoder, "attention_bias", "false");
  if (const std::string act = decoder.text_or("hidden_act", "relu"); act != "relu") {
    throw not_built_in(decoder, "hidden_act", "'" + act + "'");
  }
  return c;
}

using Names = std::pair<const char*, const char*>;

/// Replaces each of `names` once, in their order.
template <size_t N>
void rename(std::string& name, const Names (&names)[N]) {
  for (const auto& [from, to] : names) {
    const size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, std::strlen(from), to);
  }
}

/// The names of the decoder's tensors in every layout as those of mlx-audio.
std::string decoder_name(std::string name) {
  constexpr Names kParts[] = {
      {"transf_decoder._embedding.token_embedding.", "decoder.embedding."},
      {"transf_decoder._embedding.layer_norm.", "decoder.embedding_layer_norm."},
      {"transf_decoder._decoder.layers.", "decoder.blocks."},
      {"transf_decoder._decoder.final_layer_norm.", "decoder.final_norm."},
      {"transf_decoder.token_embedding.", "decoder.embedding."},
      {"transf_decoder.embedding_layer_norm.", "decoder.embedding_layer_norm."},
      {"transf_decoder.layers.", "decoder.blocks."},
      {"transf_decoder.final_layer_norm.", "decoder.final_norm."},
      {"log_softmax.mlp.layer0.", "decoder.output_proj."},
      {"head.classifier.", "decoder.output_proj."},
      {"decoder.embed_tokens.", "decoder.embedding."},
      {"decoder.embedding_layernorm.", "decoder.embedding_layer_norm."},
      {"decoder.layers.", "decoder.blocks."},
      {"decoder.norm.", "decoder.final_norm."},
      {"proj_out.", "decoder.output_proj."},
  };
  constexpr Names kLayer[] = {
      {".first_sub_layer.", ".self_attn."},
      {".second_sub_layer.", ".cross_attn."},
      {".third_sub_layer.", "."},
      {".encoder_attn.", ".cross_attn."},
      {".mlp.", "."},
      {".layer_norm_1.", ".self_attn_norm."},
      {".layer_norm_2.", ".cross_attn_norm."},
      {".layer_norm_3.", ".ff_norm."},
      {".input_layernorm.", ".self_attn_norm."},
      {".post_attention_layernorm.", ".cross_attn_norm."},
      {".final_layernorm.", ".ff_norm."},
      {".query_net.", ".q_proj."},
      {".key_net.", ".k_proj."},
      {".value_net.", ".v_proj."},
      {".out_projection.", ".out_proj."},
      {".linear_q.", ".q_proj."},
      {".linear_k.", ".k_proj."},
      {".linear_v.", ".v_proj."},
      {".linear_out.", ".out_proj."},
      {".o_proj.", ".out_proj."},
      {".dense_in.", ".ff1."},
      {".dense_out.", ".ff2."},
      {".linear1.", ".ff1."},
      {".linear2.", ".ff2."},
      {".fc1.", ".ff1."},
      {".fc2.", ".ff2."},
  };
  if (name.starts_with("model.")) name.erase(0, 6);
  rename(name, kParts);
  if (name.starts_with("decoder.blocks.")) rename(name, kLayer);
  return name;
}

std::string own_name(const CanaryConfig& c, const std::string& name) {
  const auto starts = [&](const std::string& prefix) { return name.starts_with(prefix); };
  if (starts("encoder_decoder_proj.")) return "projection." + name.substr(std::strlen("encoder_decoder_proj."));
  if (starts("encoder.projection.")) return name.substr(std::strlen("encoder."));
  if (starts("encoder.conformer.")) return "encoder." + name.substr(std::strlen("encoder.conformer."));
  if (c.transformers && (starts("encoder.") || starts("model.encoder."))) return nemo_encoder_name(name);
  return starts("encoder.") ? name : decoder_name(name);
}

void sanitize(const CanaryConfig& c, Weights& weights) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) renamed.emplace(own_name(c, name), std::move(tensor));
  weights.tensors() = std::move(renamed);
  // Sinusoids, which are computed, and what NeMo keeps beside the weights.
  weights.drop([&](const std::string& name) {
    return name.find("position_embedding.") != std::string::npos || name.starts_with("preprocessor.") ||
           (c.encoder.hidden == c.hidden && name.starts_with("projection."));
  });
}

/// [positions, hidden]: sines and cosines of each position at wavelengths from 2π to almost 20000π, over √hidden.
mx::array decoder_positions(const CanaryConfig& c, mx::Dtype type) {
  const int half = c.hidden / 2;
  const mx::array position = mx::reshape(mx::arange(0, c.positions, 1, mx::float32), {c.positions, 1});
  const mx::array step = mx::exp(mx::multiply(mx::arange(0, c.hidden, 2, mx::float32),
                                              mx::array(static_cast<float>(-std::log(10000.0) / c.hidden))));
  const mx::array angle = mx::multiply(position, mx::reshape(step, {1, half}));
  const mx::array waves = c.transformers
                              ? mx::concatenate({mx::sin(angle), mx::cos(angle)}, 1)
                              : mx::reshape(mx::stack({mx::sin(angle), mx::cos(angle)}, 2), {c.positions, -1});
  return mx::astype(mx::divide(waves, mx::array(std::sqrt(static_cast<float>(c.hidden)))), type);
}

LayerNorm norm(const CanaryConfig& c, const WeightPath& path) { return {path, c.hidden, kCanaryEps}; }

Linear square(const CanaryConfig& c, const WeightPath& path) { return {path, c.hidden, c.hidden, true}; }

struct CanaryBlock {
  CanaryBlock(const CanaryConfig& c, const WeightPath& path)
      : scale(1 / std::sqrt(static_cast<float>(c.hidden / c.heads))),
        project{norm(c, path / "self_attn_norm"),
                square(c, path / "self_attn" / "q_proj"),
                square(c, path / "self_attn" / "k_proj"),
                square(c, path / "self_attn" / "v_proj"),
                std::nullopt,
                std::nullopt,
                c.hidden / c.heads},
        attention{std::nullopt, std::nullopt, std::nullopt, {scale}},
        out{square(c, path / "self_attn" / "out_proj")},
        query{norm(c, path / "cross_attn_norm"), square(c, path / "cross_attn" / "q_proj")},
        encoded{square(c, path / "cross_attn" / "k_proj"), square(c, path / "cross_attn" / "v_proj"), c.heads},
        cross_out{square(c, path / "cross_attn" / "out_proj")},
        feed_forward{norm(c, path / "ff_norm"), Linear(path / "ff1", c.hidden, c.inner, true),
                     Linear(path / "ff2", c.inner, c.hidden, true), Activation::relu} {}

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
  MlpResidual feed_forward;
};

class Canary : public Seq2SeqNet {
 public:
  Canary(const CanaryConfig& c, const WeightPath& root)
      : Seq2SeqNet(
            {.model_type = "canary", .vocab_size = c.vocab, .mels = c.encoder.mels, .text_positions = c.positions},
            {"canary", c.vocab, c.hidden, c.layers, c.positions}),
        encoder_(c.encoder, root / "encoder"),
        embedding_(root / "decoder" / "embedding", c.vocab, c.hidden),
        positions_(decoder_positions(c, root.weights().activation_type())),
        embedding_norm_(norm(c, root / "decoder" / "embedding_layer_norm")),
        decoder_norm_(norm(c, root / "decoder" / "final_norm")) {
    if (c.encoder.hidden != c.hidden) projection_.emplace(root / "projection", c.encoder.hidden, c.hidden, true);
    for (int i = 0; i < c.layers; ++i) decoder_.emplace_back(c, root / "decoder" / "blocks" / i);
    const WeightPath head = root / "decoder" / "output_proj";
    // transformers ties the head's matrix to the embedding, but not its bias.
    if (head.has("weight")) {
      head_.emplace(head, c.hidden, c.vocab, true);
    } else {
      head_bias_ = head.take("bias", {c.vocab});
    }
  }

  EncodedAudio encode(const mx::array& features) const override {
    std::vector<mx::array> stages;
    mx::array x = encoder_(features, stages);
    if (projection_) x = (*projection_)(x);
    return {x, std::move(stages)};
  }

  mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const WindowKeys*>& windows,
                    bool last_only) const override {
    const Inputs inputs{.ids = ids, .last_only = last_only};
    const Positions positions = text_positions_of(inputs, cache, windows);
    mx::array x = embedding_norm_(mx::add(embedding_(ids), mx::take(positions_, positions.order(), 0)));
    LayerMasks masks(std::nullopt, positions);
    for (size_t i = 0; i < decoder_.size(); ++i) {
      AttentionCache& layer = attention_cache(cache, i);
      x = decoder_[i](x, layer, masks.of(layer), positions, keys_of(windows, i));
    }
    x = wanted_tokens(decoder_norm_(x), inputs, positions);
    return mx::astype(head_ ? (*head_)(x) : mx::add(embedding_.as_linear(x), *head_bias_), mx::float32);
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

  FastConformer encoder_;
  std::optional<Linear> projection_;
  Embedding embedding_;
  mx::array positions_;
  LayerNorm embedding_norm_;
  std::vector<CanaryBlock> decoder_;
  LayerNorm decoder_norm_;
  std::optional<Linear> head_;  // absent: the embedding
  std::optional<mx::array> head_bias_;
};

}  // namespace

std::unique_ptr<SpeechNet> make_canary(const Config& config, Weights& weights) {
  const CanaryConfig c =
      config.has("encoder_config") ? CanaryConfig::from_transformers(config) : CanaryConfig::from_nemo(config);
  sanitize(c, weights);
  return std::make_unique<Canary>(c, WeightPath(weights));
}

}  // namespace mlxk
