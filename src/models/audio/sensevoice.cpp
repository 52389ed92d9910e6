// SenseVoiceSmall (https://arxiv.org/abs/2407.04051; FunASR's sense_voice): blocks of attention with a memory (SAN-M,
// https://arxiv.org/abs/2006.01713) over stacked Kaldi features, and CTC, whose blank is token 0. Four embeddings
// precede the features: the language, the event, the emotion and whether to write numbers and punctuation. The frames
// at their places score the tags of the recording. Tensors are named as in mlx-audio's conversions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/frame_net.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "nn/attention.h"
#include "nn/encoder_attention.h"
#include "nn/mlp.h"

namespace mlxk {
namespace {

constexpr float kSenseVoiceEps = 1e-5F;
constexpr int kConditions = 16;                                 // rows of their embedding
constexpr int32_t kEvent = 1, kEmotion = 2, kWithNumbers = 14;  // of them
constexpr int kPrefix = 4;

struct SenseVoiceConfig {
  static SenseVoiceConfig from_json(const Config& config);

  int vocab, mels, hidden, heads, inner, blocks, late_blocks, kernel, shift;
};

SenseVoiceConfig SenseVoiceConfig::from_json(const Config& config) {
  constexpr int kWide = 1 << 16;
  const Config encoder =
      config.has("encoder_conf") ? config.object("encoder_conf") : Config(Json::object(), config.place());
  const auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(encoder.integer_or(key, fallback, 1, high));
  };
  SenseVoiceConfig c{};
  c.vocab = static_cast<int>(config.integer_or("vocab_size", 25055, 2, 1 << 22));
  c.mels = static_cast<int>(config.integer_or("input_size", 560, 2, kWide));
  c.hidden = integer("output_size", 512, kWide);
  c.heads = integer("attention_heads", 4, 1024);
  c.inner = integer("linear_units", 2048, 1 << 18);
  c.blocks = integer("num_blocks", 50, 1024);
  c.late_blocks = static_cast<int>(encoder.integer_or("tp_blocks", 20, 0, 1024));
  c.kernel = integer("kernel_size", 11, 1024);
  // The published configuration spells it sanm_shfit.
  const char* shift = encoder.has("sanm_shift") ? "sanm_shift" : "sanm_shfit";
  c.shift = static_cast<int>(encoder.integer_or(shift, 0, 0, c.kernel / 2));
  if (c.hidden % c.heads != 0) {
    throw encoder.bad("output_size", fmt::format("must be a multiple of the {} heads, got {}", c.heads, c.hidden));
  }
  if (c.mels % 2 != 0) throw config.bad("input_size", fmt::format("must be even, got {}", c.mels));
  if (!encoder.flag_or("normalize_before", true)) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] normalize_before false is not built in", encoder.place()));
  }
  return c;
}

/// [n, width]: sines of the positions 1 to n at wavelengths from 2π to 20000π, then their cosines.
mx::array positions_from_one(int n, int width, mx::Dtype type) {
  const mx::array all = sinusoids(n + 1, width, type);
  return mx::slice(all, {0, 1, 0}, {1, n + 1, width});
}

/// Attention, plus the values and their convolution over neighbouring frames.
struct SanmBlock {
  SanmBlock(const SenseVoiceConfig& c, const WeightPath& path, int in)
      : heads(c.heads),
        residual(in == c.hidden),
        left((c.kernel - 1) / 2 + c.shift),
        right(c.kernel - 1 - left),
        project{LayerNorm(path / "norm1", in, kSenseVoiceEps),
                Linear(path / "self_attn" / "linear_q_k_v", in, 3 * c.hidden, true)},
        memory(with_channels_last(path / "self_attn" / "fsmn_block", 1, c.kernel), c.hidden, c.hidden, c.kernel,
               {.groups = c.hidden}, false),
        out(path / "self_attn" / "linear_out", c.hidden, c.hidden, true),
        feed_forward{LayerNorm(path / "norm2", c.hidden, kSenseVoiceEps),
                     Linear(path / "feed_forward" / "w_1", c.hidden, c.inner, true),
                     Linear(path / "feed_forward" / "w_2", c.inner, c.hidden, true), Activation::relu} {}

  mx::array operator()(const mx::array& x) const {
    const auto parts = mx::split(project(x), 3, 2);
    const float scale = 1 / std::sqrt(static_cast<float>(parts[0].shape(2) / heads));
    const mx::array& v = parts[2];
    const mx::array padded = mx::pad(v, {{0, 0}, {left, right}, {0, 0}}, mx::array(0, v.dtype()));
    mx::array mixed = mx::add(out(attend_to_all(parts[0], parts[1], v, heads, scale)), mx::add(memory(padded), v));
    if (residual) mixed = mx::add(x, mixed);
    return feed_forward(mixed);
  }

  int heads;
  bool residual;
  int left, right;
  NormLinear project;
  Conv1d memory;
  Linear out;
  MlpResidual feed_forward;
};

class SenseVoice : public FrameNet {
 public:
  SenseVoice(const SenseVoiceConfig& c, const WeightPath& root)
      : FrameNet({.model_type = "sensevoice", .vocab_size = c.vocab, .mels = c.mels}, {.blank = 0}),
        hidden_(c.hidden),
        conditions_(root / "embed", kConditions, c.mels),
        norm_(root / "encoder" / "after_norm", c.hidden, kSenseVoiceEps),
        late_norm_(root / "encoder" / "tp_norm", c.hidden, kSenseVoiceEps),
        head_(root / "ctc_lo", c.hidden, c.vocab, true) {
    blocks_.emplace_back(c, root / "encoder" / "encoders0" / 0, c.mels);
    for (int i = 1; i < c.blocks; ++i) blocks_.emplace_back(c, root / "encoder" / "encoders" / (i - 1), c.hidden);
    for (int i = 0; i < c.late_blocks; ++i)
      late_blocks_.emplace_back(c, root / "encoder" / "tp_encoders" / i, c.hidden);
  }

  /// In a detected language, with numbers and punctuation.
  EncodedAudio encode(const mx::array& features) const override {
    return encode_conditioned(features, {0, kEvent, kEmotion, kWithNumbers});
  }

  EncodedAudio encode_conditioned(const mx::array& features, const std::vector<int32_t>& conditions) const override {
    const bool fits = conditions.size() == kPrefix && std::all_of(conditions.begin(), conditions.end(), [](int32_t id) {
                        return id >= 0 && id < kConditions;
                      });
    if (!fits) throw Error(ErrorKind::invalid, fmt::format("[sensevoice] needs {} conditions", kPrefix));
    if (features.ndim() != 3 || features.shape(1) < 1 || features.shape(2) != shape_.mels) {
      throw Error(ErrorKind::invalid, fmt::format("[sensevoice] features must be [1, n, {}]", shape_.mels));
    }
    const mx::array prefix = conditions_(mx::array(conditions.data(), {1, kPrefix}, mx::int32));
    mx::array x = mx::concatenate({prefix, mx::astype(features, prefix.dtype())}, 1);
    x = mx::multiply(x, mx::array(std::sqrt(static_cast<float>(hidden_)), x.dtype()));
    x = mx::add(x, positions_from_one(x.shape(1), shape_.mels, x.dtype()));
    std::vector<mx::array> stages;
    const auto run = [&](const std::vector<SanmBlock>& blocks, const LayerNorm& norm) {
      for (const SanmBlock& block : blocks) {
        x = block(x);
        stages.push_back(x);
      }
      x = norm(x);
    };
    run(blocks_, norm_);
    run(late_blocks_, late_norm_);
    const mx::array frames = mx::astype(head_(x), mx::float32);
    stages.push_back(frames);
    return {frames, std::move(stages)};
  }

  int frames_of(int features) const override { return features + kPrefix; }

 private:
  int hidden_;
  Embedding conditions_;
  std::vector<SanmBlock> blocks_, late_blocks_;
  LayerNorm norm_, late_norm_;
  Linear head_;
};

}  // namespace

std::unique_ptr<SpeechNet> make_sensevoice(const Config& config, Weights& weights) {
  const SenseVoiceConfig c = SenseVoiceConfig::from_json(config);
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    renamed.emplace(name.starts_with("ctc.ctc_lo.") ? name.substr(4) : name, std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
  return std::make_unique<SenseVoice>(c, WeightPath(weights));
}

}  // namespace mlxk
