// VibeVoice-ASR's encoders (transformers' vibevoice_asr, mlx-audio's vibevoice_asr; https://arxiv.org/abs/2601.18184):
// two causal convolutional networks over raw samples, one for the sound and one for its meaning, whose projected
// outputs are added. Of the first one's distribution the mean is taken, as mlx-audio does; transformers adds noise by
// default. Features are [1, samples, 1] at 24 kHz, whole frames.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "nn/activation.h"

namespace mlxk {
namespace {

constexpr int kSamplesOfAPiece = 240'000;  // 10 seconds, so that memory does not grow with the recording
constexpr float kProjectorEps = 1e-6F;

struct VibeVoiceEncoderConfig {
  std::vector<int> ratios, depths;  // of the stages; the first stage has no ratio
  int filters, out, kernel, expansion;
  float eps;
  Activation activation;
  int hop() const { return std::accumulate(ratios.begin(), ratios.end(), 1, std::multiplies<>()); }
};

/// The whole numbers at `key`: a list, or a text like "3-3-8".
std::vector<int> numbers_at(const Config& config, const char* key, const std::vector<int>& fallback) {
  const Json* given = config.find(key);
  if (!given) return fallback;
  std::vector<int> all;
  const auto add = [&](int64_t one) {
    if (one < 1 || one > 64 || all.size() == 16) throw config.bad(key, "must be up to 16 numbers from 1 to 64");
    all.push_back(static_cast<int>(one));
  };
  if (given->is_string()) {
    int64_t one = 0;
    for (const char c : given->get<std::string>() + "-") {
      if (c != '-' && (c < '0' || c > '9')) throw config.bad(key, "must be numbers joined by '-'");
      if (c == '-') add(std::exchange(one, 0));
      if (c != '-') one = std::min<int64_t>(one * 10 + (c - '0'), 1000);
    }
    return all;
  }
  if (!given->is_array()) throw config.bad(key, "must be a list of numbers");
  for (const Json& one : *given) add(one.is_number_integer() ? one.get<int64_t>() : 0);
  return all;
}

/// `config`: transformers' keys, or Microsoft's.
VibeVoiceEncoderConfig read_vibevoice_encoder(const Config& config, int out) {
  const auto integer = [&](const char* key, int fallback) {
    return static_cast<int>(config.integer_or(key, fallback, 1, 1 << 16));
  };
  VibeVoiceEncoderConfig c{};
  c.ratios = numbers_at(config, "downsampling_ratios", {});
  if (c.ratios.empty()) {
    c.ratios = numbers_at(config, "encoder_ratios", {8, 5, 5, 4, 2, 2});
    std::reverse(c.ratios.begin(), c.ratios.end());
  }
  const char* depths = config.present({"depths", "encoder_depths"});
  c.depths = numbers_at(config, depths, {3, 3, 3, 3, 3, 3, 8});
  if (c.depths.size() != c.ratios.size() + 1) {
    throw config.bad(depths, fmt::format("must be one more than the {} ratios", c.ratios.size()));
  }
  c.filters = integer(config.present({"num_filters", "n_filters", "encoder_n_filters"}), 32);
  c.out = integer(config.present({"hidden_size", "vae_dim"}), out);
  c.kernel = integer("kernel_size", 7);
  c.expansion = integer("ffn_expansion", 4);
  c.eps = static_cast<float>(config.number_or(config.present({"rms_norm_eps", "layernorm_eps"}), 1e-5, 0, 1));
  const std::string activation = config.text_or("hidden_act", "gelu");
  if (activation != "gelu") {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] hidden_act '{}' is not built in", config.place(), activation));
  }
  c.activation = Activation::gelu;
  return c;
}

/// The last inputs of each convolution, for the piece that follows.
struct Past {
  std::vector<mx::array> inputs;
  size_t next = 0;
};

/// A convolution that sees no sample after its own.
struct CausalConvolution {
  CausalConvolution(const WeightPath& path, int in, int out, int kernel, int stride, int groups)
      : conv(with_channels_last(path, in / groups, kernel), in, out, kernel, {.stride = stride, .groups = groups},
             true),
        context(kernel - stride) {}

  mx::array operator()(const mx::array& x, Past& past) const {  // [1, L, in]
    if (past.next == past.inputs.size()) past.inputs.push_back(mx::zeros({1, context, x.shape(2)}, x.dtype()));
    mx::array& before = past.inputs[past.next++];
    const mx::array whole = mx::concatenate({before, x}, 1);
    before = mx::slice(whole, {0, whole.shape(1) - context, 0}, whole.shape());
    return conv(whole);
  }

  Conv1d conv;
  int context;  // inputs before the first
};

struct ConvNextBlock {
  ConvNextBlock(const VibeVoiceEncoderConfig& c, const WeightPath& path, int width)
      : norm(path / "norm", width, c.eps),
        ffn_norm(path / "ffn_norm", width, c.eps),
        mixer(path / "mixer" / "conv", width, width, c.kernel, 1, width),
        up(path / "ffn" / "linear1", width, c.expansion * width, true),
        down(path / "ffn" / "linear2", c.expansion * width, width, true),
        gamma(path.take("gamma", {width})),
        ffn_gamma(path.take("ffn_gamma", {width})),
        activation(c.activation),
        flops(4.0 * c.expansion * width * width) {}

  mx::array operator()(const mx::array& x, Past& past, std::vector<mx::array>& stages) const {
    const mx::array mixed = mx::add(x, scaled(mixer(norm(x), past), gamma));
    stages.push_back(by_rows(mixed, flops, stages, [&](const mx::array& rows) {
      return mx::add(rows, scaled(down(activate(activation, up(ffn_norm(rows)))), ffn_gamma));
    }));
    return stages.back();
  }

  static mx::array scaled(const mx::array& x, const mx::array& by) {
    return mx::multiply(x, mx::astype(by, x.dtype()));
  }

  RmsNorm norm, ffn_norm;
  CausalConvolution mixer;
  Linear up, down;
  mx::array gamma, ffn_gamma;
  Activation activation;
  double flops;  // a row's
};

/// Stages of a convolution and blocks, each with fewer and wider frames than the one before.
class VibeVoiceEncoder {
 public:
  VibeVoiceEncoder(const VibeVoiceEncoderConfig& c, const WeightPath& path)
      : head_(path / "head" / "conv", c.filters << c.ratios.size(), c.out, c.kernel, 1, 1) {
    for (size_t i = 0; i < c.depths.size(); ++i) {
      const int width = c.filters << i;
      const WeightPath at = i == 0 ? path / "stem" : path / "conv_layers" / static_cast<int>(i - 1);
      const int stride = i == 0 ? 1 : c.ratios[i - 1];
      Stage stage{{at / "conv" / "conv", i == 0 ? 1 : width / 2, width, i == 0 ? c.kernel : 2 * stride, stride, 1}, {}};
      for (int block = 0; block < c.depths[i]; ++block) stage.blocks.emplace_back(c, at / "stage" / block, width);
      stages_.push_back(std::move(stage));
    }
  }

  /// Samples [1, L, 1], the next ones → [1, L / hop, out].
  mx::array operator()(mx::array x, Past& past, std::vector<mx::array>& stages) const {
    past.next = 0;
    for (const Stage& stage : stages_) {
      x = stage.conv(x, past);
      for (const ConvNextBlock& block : stage.blocks) x = block(x, past, stages);
    }
    return head_(x, past);
  }

 private:
  struct Stage {
    CausalConvolution conv;
    std::vector<ConvNextBlock> blocks;
  };
  std::vector<Stage> stages_;
  CausalConvolution head_;
};

/// norm(x W₁) W₂, with biases.
struct NormedProjector {
  NormedProjector(const WeightPath& path, const std::string& side, int in, int hidden)
      : up(path / (side + "_linear_1"), in, hidden, true),
        norm(path / (side + "_norm"), hidden, kProjectorEps),
        down(path / (side + "_linear_2"), hidden, hidden, true) {}
  mx::array operator()(const mx::array& x) const { return down(norm(up(x))); }

  Linear up;
  RmsNorm norm;
  Linear down;
};

class VibeVoiceAudioEncoder : public MediaEncoder {
 public:
  VibeVoiceAudioEncoder(const VibeVoiceEncoderConfig& acoustic, const VibeVoiceEncoderConfig& semantic, int piece,
                        int hidden, Weights& weights)
      : type_(weights.activation_type()),
        hop_(acoustic.hop()),
        piece_(std::max(1, piece / hop_) * hop_),
        acoustic_(acoustic, WeightPath(weights) / "acoustic_tokenizer_encoder"),
        semantic_(semantic, WeightPath(weights) / "semantic_tokenizer_encoder"),
        from_acoustic_(WeightPath(weights) / "multi_modal_projector", "acoustic", acoustic.out, hidden),
        from_semantic_(WeightPath(weights) / "multi_modal_projector", "semantic", semantic.out, hidden) {}

  EncodedMedia encode(const MediaData& data) const override {
    const std::vector<mx::array> windows = windows_of(data, 0, 1, type_);
    const int size = windows[0].shape(1);
    if (windows.size() != 1 || size % hop_ != 0) {
      throw unfit_audio(fmt::format("it must be one window of a multiple of {} samples, got {}", hop_, size));
    }
    std::vector<mx::array> features, stages;
    Past heard, meant;
    for (int begin = 0; begin < size; begin += piece_) {
      const mx::array samples = mx::slice(windows[0], {0, begin, 0}, {1, std::min(size, begin + piece_), 1});
      const mx::array sound = from_acoustic_(acoustic_(samples, heard, stages));
      stages.push_back(sound);
      features.push_back(without_batch(mx::add(sound, from_semantic_(semantic_(samples, meant, stages)))));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  int hop_, piece_;  // samples
  VibeVoiceEncoder acoustic_, semantic_;
  NormedProjector from_acoustic_, from_semantic_;
};

/// transformers' name for a tensor below an encoder of Microsoft's, whose convolutions are wrapped more often; `parts`:
/// the name's, between the dots.
std::string encoder_name(const std::vector<std::string>& parts) {
  const auto stage = [&] {
    return parts[1] == "0" ? std::string("stem") : fmt::format("conv_layers.{}", std::atoi(parts[1].c_str()) - 1);
  };
  const std::string& leaf = parts.back();
  if (parts[0] == "head") return "head.conv." + leaf;
  if (parts[0] == "downsample_layers" && parts.size() > 2) return stage() + ".conv.conv." + leaf;
  if (parts[0] != "stages" || parts.size() < 4) return fmt::format("{}", fmt::join(parts, "."));
  const std::string block = stage() + ".stage." + parts[2] + ".";
  if (parts[3] == "mixer") return block + "mixer.conv." + leaf;
  return block + fmt::format("{}", fmt::join(parts.begin() + 3, parts.end(), "."));
}

/// Gives the tensors of Microsoft's and mlx-audio's checkpoints transformers' names.
void rename_vibevoice(Weights& weights) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string_view rest = name;
    if (rest.starts_with("model.")) rest.remove_prefix(6);
    std::string as = name;
    for (const std::string side : {"acoustic", "semantic"}) {
      const std::string encoder = side + "_tokenizer.encoder.", connector = side + "_connector.";
      const std::string projector = "multi_modal_projector." + side + "_";
      if (rest.starts_with(side + "_tokenizer_encoder.") || rest.starts_with(projector)) as = rest;
      if (rest.starts_with(encoder)) {
        std::vector<std::string> parts(1);
        for (const char c : rest.substr(encoder.size())) {
          if (c == '.') parts.emplace_back();
          if (c != '.') parts.back() += c;
        }
        as = side + "_tokenizer_encoder." + encoder_name(parts);
      }
      for (const auto& [from, to] : {std::pair("fc1.", "linear_1."), {"fc2.", "linear_2."}, {"norm.", "norm."}}) {
        if (rest.starts_with(connector + from))
          as = projector + to + std::string(rest.substr((connector + from).size()));
      }
    }
    renamed.emplace(std::move(as), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
}

std::unique_ptr<MediaEncoder> make_vibevoice_encoder(const Config& config, Weights& weights) {
  rename_vibevoice(weights);
  const auto encoder = [&](const char* side, int out) {
    const std::string key = fmt::format("{}_tokenizer{}_config", side, config.has("text_config") ? "_encoder" : "");
    return read_vibevoice_encoder(config.has(key.c_str()) ? config.object(key.c_str()) : Config(Json::object(), key),
                                  out);
  };
  const VibeVoiceEncoderConfig acoustic = encoder("acoustic", 64), semantic = encoder("semantic", 128);
  if (acoustic.hop() != semantic.hop()) {
    throw config.bad("downsampling_ratios", fmt::format("must be the same for both encoders, got {} and {} samples",
                                                        acoustic.hop(), semantic.hop()));
  }
  const auto piece = config.integer_or("acoustic_tokenizer_chunk_size", kSamplesOfAPiece, 1, 1 << 30);
  return std::make_unique<VibeVoiceAudioEncoder>(acoustic, semantic,
                                                 static_cast<int>(std::min<int64_t>(piece, kSamplesOfAPiece)),
                                                 text_hidden_size(config, 3584), weights);
}

}  // namespace

std::unique_ptr<MediaEncoder> make_vibevoice_audio(const Config& config, Weights& weights) {
  return make_vibevoice_encoder(config, weights);
}

std::unique_ptr<MediaEncoder> make_vibevoice_asr_audio(const Config& config, Weights& weights) {
  return make_vibevoice_encoder(config, weights);
}

}  // namespace mlxk
