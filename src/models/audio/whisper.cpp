// Whisper (https://arxiv.org/abs/2212.04356): two convolutions and an encoder over 30 seconds of log-mel features, and
// a decoder that attends to it. Tensors are named as in MLX's conversions; Hugging Face's names are converted to those.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>

#include "json/json.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/audio/parts.h"
#include "models/audio/seq2seq_net.h"
#include "models/registry.h"
#include "models/step.h"
#include "nn/conv.h"
#include "nn/layer_inputs.h"

namespace mlxk {
namespace {

constexpr float kWhisperEps = 1e-5F;

struct Side {
  int positions, state, heads, layers;
};

struct WhisperConfig {
  static WhisperConfig from_json(const Config& config);

  std::string model_type;
  int mels, vocab;
  Side audio, text;
};

/// MLX's own names of the keys, or those of transformers.
WhisperConfig WhisperConfig::from_json(const Config& config) {
  const bool own = config.has("n_audio_state");
  const auto integer = [&](const char* mlx, const char* transformers, int high) {
    return static_cast<int>(config.integer(own ? mlx : transformers, 1, high));
  };
  constexpr int kWide = 1 << 16, kLong = 1 << 20;
  WhisperConfig c;
  c.model_type = config.text_or("model_type", "");
  c.mels = integer("n_mels", "num_mel_bins", 1024);
  c.vocab = integer("n_vocab", "vocab_size", 1 << 24);
  c.audio = {integer("n_audio_ctx", "max_source_positions", kLong), integer("n_audio_state", "d_model", kWide),
             integer("n_audio_head", "encoder_attention_heads", 1024),
             integer("n_audio_layer", "encoder_layers", 1024)};
  c.text = {integer("n_text_ctx", "max_target_positions", kLong), integer("n_text_state", "d_model", kWide),
            integer("n_text_head", "decoder_attention_heads", 1024), integer("n_text_layer", "decoder_layers", 1024)};
  for (const auto& [name, side] : {std::pair("audio", c.audio), std::pair("text", c.text)}) {
    if (side.state % (2 * side.heads) == 0) continue;
    throw config.bad(fmt::format("n_{}_state", name),
                     fmt::format("must be an even multiple of the {} heads, got {}", side.heads, side.state));
  }
  if (c.audio.state != c.text.state) {
    throw config.bad("n_text_state", fmt::format("must be n_audio_state, got {} and {}", c.text.state, c.audio.state));
  }
  return c;
}

/// Parts of Hugging Face's and OpenAI's names, in the order of replacement.
constexpr std::pair<const char*, const char*> kNames[] = {
    {".layers.", ".blocks."},
    {".self_attn_layer_norm.", ".attn_ln."},
    {".encoder_attn_layer_norm.", ".cross_attn_ln."},
    {".final_layer_norm.", ".mlp_ln."},
    {".self_attn.", ".attn."},
    {".encoder_attn.", ".cross_attn."},
    {".q_proj.", ".query."},
    {".k_proj.", ".key."},
    {".v_proj.", ".value."},
    {".out_proj.", ".out."},
    {".fc1.", ".mlp1."},
    {".fc2.", ".mlp2."},
    {".mlp.0.", ".mlp1."},
    {".mlp.2.", ".mlp2."},
    {"encoder.layer_norm.", "encoder.ln_post."},
    {"decoder.layer_norm.", "decoder.ln."},
    {"decoder.embed_tokens.", "decoder.token_embedding."},
    {"decoder.embed_positions.weight", "decoder.positional_embedding"},
};

std::string own_name(std::string name) {
  if (name.rfind("model.", 0) == 0) name.erase(0, 6);
  for (const auto& [from, to] : kNames) {
    const size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, std::strlen(from), to);
  }
  return name;
}

void sanitize(const WhisperConfig& c, Weights& weights) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) renamed.emplace(own_name(name), std::move(tensor));
  weights.tensors() = std::move(renamed);
  // Sinusoids, which are computed; the head, which is the embedding; and the causal mask of early conversions.
  weights.drop([](const std::string& name) {
    return name == "encoder.positional_embedding" || name == "encoder._positional_embedding" ||
           name == "encoder.embed_positions.weight" || name == "proj_out.weight" || name == "decoder._mask";
  });
  for (const auto& [name, in] :
       {std::pair("encoder.conv1.weight", c.mels), std::pair("encoder.conv2.weight", c.audio.state)}) {
    const auto found = weights.tensors().find(name);
    // [out, in, width] in PyTorch's order
    if (found != weights.tensors().end() && found->second.ndim() == 3 && found->second.shape(1) == in && in != 3) {
      found->second = mx::contiguous(mx::transpose(found->second, {0, 2, 1}));
    }
  }
}

/// The heads that config or weights name, else all of the upper half of the decoder.
std::vector<std::pair<int, int>> alignment_heads(const Config& config, const WhisperConfig& c, Weights& weights) {
  std::vector<std::pair<int, int>> heads;
  const auto add = [&](int64_t layer, int64_t head) {
    if (layer < 0 || layer >= c.text.layers || head < 0 || head >= c.text.heads) {
      throw config.bad("alignment_heads", fmt::format("names head {} of layer {}, there are {} layers of {}", head,
                                                      layer, c.text.layers, c.text.heads));
    }
    heads.emplace_back(layer, head);
  };
  if (weights.has("alignment_heads")) {
    mx::array table = mx::astype(weights.take_raw("alignment_heads"), mx::int32);
    table = mx::contiguous(table);
    table.eval();
    if (table.ndim() != 2 || table.shape(1) != 2) throw config.bad("alignment_heads", "must be a table of two columns");
    for (int i = 0; i < table.shape(0); ++i) add(table.data<int32_t>()[2 * i], table.data<int32_t>()[2 * i + 1]);
  } else if (const Json* list = config.find("alignment_heads")) {
    for (const Json& pair : *list) {
      const bool fits =
          pair.is_array() && pair.size() == 2 && pair[0].is_number_integer() && pair[1].is_number_integer();
      if (!fits) throw config.bad("alignment_heads", "must be a list of pairs of layer and head");
      add(pair[0].get<int64_t>(), pair[1].get<int64_t>());
    }
  }
  if (!heads.empty()) return heads;
  for (int layer = c.text.layers / 2; layer < c.text.layers; ++layer) {
    for (int head = 0; head < c.text.heads; ++head) heads.emplace_back(layer, head);
  }
  return heads;
}

NormQkv self_projection(const WeightPath& path, const Side& side) {
  const WeightPath attn = path / "attn";
  return {LayerNorm(path / "attn_ln", side.state, kWhisperEps),
          Linear(attn / "query", side.state, side.state, true),
          Linear(attn / "key", side.state, side.state, false),
          Linear(attn / "value", side.state, side.state, true),
          std::nullopt,
          std::nullopt,
          side.state / side.heads};
}

MlpResidual mlp(const WeightPath& path, int state) {
  return {LayerNorm(path / "mlp_ln", state, kWhisperEps), Linear(path / "mlp1", state, 4 * state, true),
          Linear(path / "mlp2", 4 * state, state, true), Activation::gelu};
}

OutResidual output(const WeightPath& path, int state) {
  return {Linear(path / "out", state, state, true), std::nullopt};
}

struct WhisperEncoderBlock {
  WhisperEncoderBlock(const WeightPath& path, const Side& side)
      : heads(side.heads),
        project(self_projection(path, side)),
        out(output(path / "attn", side.state)),
        feed_forward(mlp(path, side.state)) {}

  mx::array operator()(const mx::array& x) const {
    const Qkv seen = project(x);
    const float scale = 1 / std::sqrt(static_cast<float>(seen.head_dim));
    return feed_forward(out(attend_to_all(seen.q, seen.k, seen.v, heads, scale), x));
  }

  int heads;
  NormQkv project;
  OutResidual out;
  MlpResidual feed_forward;
};

struct WhisperDecoderBlock {
  WhisperDecoderBlock(const WeightPath& path, const Side& side)
      : scale(1 / std::sqrt(static_cast<float>(side.state / side.heads))),
        project(self_projection(path, side)),
        attention{std::nullopt, std::nullopt, std::nullopt, scale},
        out(output(path / "attn", side.state)),
        query{LayerNorm(path / "cross_attn_ln", side.state, kWhisperEps),
              Linear(path / "cross_attn" / "query", side.state, side.state, true)},
        encoded{Linear(path / "cross_attn" / "key", side.state, side.state, false),
                Linear(path / "cross_attn" / "value", side.state, side.state, true), side.heads},
        cross_out(output(path / "cross_attn", side.state)),
        feed_forward(mlp(path, side.state)) {}

  /// `looks` receives the queries that attend to the audio.
  template <class Looks>
  mx::array operator()(const mx::array& x, AttentionCache& cache, const AttentionMask& mask, const Positions& positions,
                       const std::vector<const CrossKeys*>& sound, const Looks& looks) const {
    const mx::array h = out(attention(project(x), cache, mask, positions), x);
    const mx::array q = query(h);
    looks(q);
    return feed_forward(cross_out(attend_across(q, sound, scale), h));
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

class Whisper : public Seq2SeqNet {
 public:
  Whisper(const Config& config, const WhisperConfig& c, const WeightPath& root)
      : Seq2SeqNet({c.model_type, c.vocab, c.mels, c.audio.positions, c.text.positions,
                    alignment_heads(config, c, root.weights())},
                   {c.model_type, c.vocab, c.text.state, c.text.layers, c.text.positions}),
        type_(root.weights().activation_type()),
        conv1_(root / "encoder" / "conv1", c.mels, c.audio.state, 3, {1, 1}, true),
        conv2_(root / "encoder" / "conv2", c.audio.state, c.audio.state, 3, {2, 1}, true),
        sinusoids_(sinusoids(c.audio.positions, c.audio.state, type_)),
        encoder_norm_(root / "encoder" / "ln_post", c.audio.state, kWhisperEps),
        embedding_(root / "decoder" / "token_embedding", c.vocab, c.text.state),
        positions_((root / "decoder").take("positional_embedding", {c.text.positions, c.text.state})),
        decoder_norm_(root / "decoder" / "ln", c.text.state, kWhisperEps) {
    for (int i = 0; i < c.audio.layers; ++i) encoder_.emplace_back(root / "encoder" / "blocks" / i, c.audio);
    for (int i = 0; i < c.text.layers; ++i) decoder_.emplace_back(root / "decoder" / "blocks" / i, c.text);
  }

  EncodedAudio encode(const mx::array& features) const override {
    const mx::Shape wanted{1, 2 * shape_.audio_positions, shape_.mels};
    if (features.shape() != wanted) {
      throw Error(ErrorKind::invalid,
                  fmt::format("[whisper] features must be [{}, {}, {}]", wanted[0], wanted[1], wanted[2]));
    }
    mx::array x = activate(Activation::gelu, conv1_(mx::astype(features, type_)));
    x = mx::add(activate(Activation::gelu, conv2_(x)), sinusoids_);
    std::vector<mx::array> stages;
    for (const auto& block : encoder_) {
      x = block(x);
      stages.push_back(x);
    }
    return {encoder_norm_(x), std::move(stages)};
  }

  mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const WindowKeys*>& windows,
                    bool last_only) const override {
    return decode(ids, cache, windows, last_only, [](size_t, const mx::array&) {});
  }

  Aligned align(const mx::array& ids, const WindowKeys& window) const override {
    ModelCache cache = make_cache(1);
    std::vector<mx::array> queries;
    Aligned aligned{decode(ids, cache, {&window}, false, [&](size_t, const mx::array& q) { queries.push_back(q); }),
                    {}};
    for (const auto& [layer, head] : shape_.alignment_heads) {
      const auto at = static_cast<size_t>(layer);
      aligned.scores.push_back(cross_scores(queries[at], window[at], head, decoder_[at].scale));
    }
    return aligned;
  }

 private:
  template <class Looks>
  mx::array decode(const mx::array& ids, ModelCache& cache, const std::vector<const WindowKeys*>& windows,
                   bool last_only, const Looks& looks) const {
    const Inputs inputs{.ids = ids, .last_only = last_only};
    const Positions positions = text_positions_of(inputs, cache, windows);
    mx::array x = mx::add(embedding_(ids), mx::take(positions_, positions.order(), 0));
    LayerMasks masks(std::nullopt, positions);
    for (size_t i = 0; i < decoder_.size(); ++i) {
      AttentionCache& layer = attention_cache(cache, i);
      x = decoder_[i](x, layer, masks.of(layer), positions, keys_of(windows, i),
                      [&](const mx::array& q) { looks(i, q); });
      if (i == 0) mx::async_eval(x);  // it is computed while the graph of the other layers is built
    }
    x = wanted_tokens(decoder_norm_(x), inputs, positions);
    return mx::astype(embedding_.as_linear(x), mx::float32);
  }

  const CrossProjection& cross_projection(int layer) const override {
    return decoder_[static_cast<size_t>(layer)].encoded;
  }

  mx::Dtype type_;
  Conv1d conv1_, conv2_;
  mx::array sinusoids_;
  LayerNorm encoder_norm_;
  std::vector<WhisperEncoderBlock> encoder_;
  Embedding embedding_;
  mx::array positions_;
  LayerNorm decoder_norm_;
  std::vector<WhisperDecoderBlock> decoder_;
};

}  // namespace

std::unique_ptr<SpeechNet> make_whisper(const Config& config, Weights& weights) {
  const WhisperConfig c = WhisperConfig::from_json(config);
  sanitize(c, weights);
  return std::make_unique<Whisper>(config, c, WeightPath(weights));
}

}  // namespace mlxk
