// Gemma 3n's audio encoder (transformers' gemma3n; https://arxiv.org/abs/2303.01037): two convolutions whose norms are
// over all frames up to the present one, conformer blocks with local attention, every fourth frame into the language
// model. A recording has always the same number of tokens; those after its end are the vocabulary's last. Features are
// [1, frames, mels], without padding.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/audio/usm_conformer.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/soft_tokens.h"

namespace mlxk {
namespace {

constexpr UsmNames kGemma3nNames{.feed_forward1 = "ffw_layer_start",
                                 .feed_forward2 = "ffw_layer_end",
                                 .attention = "attention.attn",
                                 .relative = "relative_position_embedding.pos_proj",
                                 .post = "attention.post",
                                 .pre_norm = "attention.pre_attn_norm",
                                 .post_norm = "attention.post_norm",
                                 .out_norm = "norm"};

struct Gemma3nAudioConfig : UsmConformerConfig {
  int mels, reduction, tokens;
  std::pair<int, int> channels;
  float norm_eps;
};

/// Checks that `key` has pairs of `wanted`, one for each convolution.
void require_pairs(const Config& audio, const char* key, int wanted) {
  const Json* given = audio.find(key);
  if (given && *given != Json{{wanted, wanted}, {wanted, wanted}}) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] {} other than {} is not built in, got {}", audio.place(), key,
                                                    wanted, given->dump()));
  }
}

Gemma3nAudioConfig read_gemma3n_audio(const Config& config) {
  const Config audio = config.object("audio_config");
  Gemma3nAudioConfig c{UsmConformerConfig::read(audio, 1536, "conf_")};
  c.names = kGemma3nNames;
  c.back = c.left - 1;
  c.ahead = c.right;
  for (int i = c.left - 1; i >= -c.right; --i) c.distances.push_back(i);
  c.mels = static_cast<int>(audio.integer_or("input_feat_size", 128, 1, 1 << 12));
  c.reduction = static_cast<int>(audio.integer_or("conf_reduction_factor", 4, 1, 64));
  c.tokens = static_cast<int>(config.integer_or("audio_soft_tokens_per_image", 188, 1, 1 << 16));
  c.channels = usm_channels(audio, "sscp_conv_channel_size");
  c.norm_eps = static_cast<float>(audio.number_or("sscp_conv_group_norm_eps", 1e-3, 0, 1));
  require_pairs(audio, "sscp_conv_kernel_size", 3);
  require_pairs(audio, "sscp_conv_stride_size", 2);
  return c;
}

/// Normalises each frame by the mean and the variance of all values up to its end. The variance is the mean of the
/// squares' distances from the mean at their own time.
struct CumulativeNorm {
  CumulativeNorm(const WeightPath& path, int channels, float eps) : weight(path.take("weight", {channels})), eps(eps) {}

  mx::array operator()(const mx::array& x) const {  // [1, frames, bands, channels]
    const mx::array y = mx::astype(x, mx::float32);
    const auto mean_so_far = [&](const mx::array& of) {
      const mx::array counts = mx::reshape(mx::arange(1, of.shape(1) + 1, mx::float32), {1, -1, 1, 1});
      return mx::divide(mx::cumsum(mx::mean(of, std::vector<int>{2, 3}, true), 1), counts);
    };
    const mx::array apart = mx::subtract(y, mean_so_far(y));
    const mx::array deviation = mx::rsqrt(mx::add(mean_so_far(mx::square(apart)), mx::array(eps)));
    return mx::astype(mx::multiply(mx::multiply(apart, deviation), mx::astype(weight, mx::float32)), x.dtype());
  }

  mx::array weight;
  float eps;
};

/// A convolution that sees no frame before its own, a norm, ReLU.
struct SubsampleConv {
  SubsampleConv(const WeightPath& path, int in, int out, float eps)
      : conv(usm_conv(path / "conv", in, out, 0)), norm(path / "norm", out, eps) {}

  mx::array operator()(const mx::array& x) const {  // [1, frames, bands, in]
    const mx::array padded = mx::pad(x, {{0, 0}, {0, 2}, {0, 0}, {0, 0}});
    return mx::maximum(norm(conv(padded)), mx::array(0.0F, x.dtype()));
  }

  Conv2d conv;
  CumulativeNorm norm;
};

class Gemma3nAudioEncoder : public MediaEncoder {
 public:
  Gemma3nAudioEncoder(const Config& config, const Gemma3nAudioConfig& c, Weights& weights, const WeightPath& path,
                      const WeightPath& projector)
      : type_(weights.activation_type()),
        c_(c),
        conv0_(path / "subsample_conv_projection" / "conv_0", 1, c.channels.first, c.norm_eps),
        conv1_(path / "subsample_conv_projection" / "conv_1", c.channels.first, c.channels.second, c.norm_eps),
        input_(path / "subsample_conv_projection" / "input_proj_linear", half(half(c.mels)) * c.channels.second,
               c.hidden),
        conformer_(c, path / "conformer", type_),
        into_text_(config.object("audio_config"), projector, c.hidden, text_hidden_size(config), kFirstToken) {
    const int vocab = static_cast<int>(config.object("text_config").integer_or("vocab_size", 262400, 1, 1 << 24));
    const TokenTable& own = into_text_.tokens();
    last_ = vocab - 1 - own.first;
    if (last_ < 0 || last_ >= own.vectors.shape(0)) {
      throw config.object("audio_config")
          .bad("vocab_offset",
               fmt::format("must put the last of {} tokens among those of audio, got {}", vocab, own.first));
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const std::vector<mx::array> windows = windows_of(data, 0, c_.mels, type_);
    if (windows.size() != 1) throw unfit_audio("it must be one window");
    std::vector<mx::array> stages;
    mx::array x = conv1_(conv0_(mx::expand_dims(windows[0], 3)));
    x = input_(mx::flatten(x, 2, 3));
    stages.push_back(x);
    x = without_batch(conformer_(x, stages));
    x = into_text_(mx::slice(x, {0, 0}, x.shape(), {c_.reduction, 1}));
    const int rest = c_.tokens - x.shape(0);
    if (rest < 0) throw unfit_audio(fmt::format("{} frames are more than {} tokens", data.shape[1], c_.tokens));
    const mx::array& own = into_text_.tokens().vectors;
    const mx::array silence = mx::astype(mx::slice(own, {last_, 0}, {last_ + 1, own.shape(1)}), x.dtype());
    x = mx::concatenate({x, mx::broadcast_to(silence, {rest, own.shape(1)})}, 0);
    stages.push_back(x);
    return {x, {}, std::move(stages)};
  }

  std::vector<TokenTable> tokens() const override { return {into_text_.tokens()}; }

 private:
  static constexpr int kFirstToken = 262'272;
  static int half(int n) { return (n - 1) / 2 + 1; }

  mx::Dtype type_;
  Gemma3nAudioConfig c_;
  SubsampleConv conv0_, conv1_;
  Linear input_;
  UsmConformer conformer_;
  SoftTokens into_text_;
  int last_;  // the row of the token that follows a recording
};

}  // namespace

std::unique_ptr<MediaEncoder> make_gemma3n_audio(const Config& config, Weights& weights) {
  return std::make_unique<Gemma3nAudioEncoder>(
      config, read_gemma3n_audio(config), weights,
      find_path(weights, {"model.audio_tower", "audio_tower"}, "subsample_conv_projection.conv_0.conv"),
      find_path(weights, {"model.embed_audio", "embed_audio"}, "embedding"));
}

}  // namespace mlxk
