// Gemma 4's audio encoder (transformers' gemma4; https://arxiv.org/abs/2303.01037): two convolutions, conformer blocks
// with local attention, one projection into the language model. Features are [1, frames, mels], without padding.
#include <fmt/format.h>

#include <algorithm>

#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/audio/usm_conformer.h"
#include "models/registry.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

constexpr UsmNames kGemma4Names{.feed_forward1 = "feed_forward1",
                                .feed_forward2 = "feed_forward2",
                                .attention = "self_attn",
                                .relative = "relative_k_proj",
                                .post = "self_attn.post",
                                .pre_norm = "norm_pre_attn",
                                .post_norm = "norm_post_attn",
                                .out_norm = "norm_out",
                                .linear = "linear"};

UsmConformerConfig read_gemma4_audio(const Config& audio) {
  UsmConformerConfig c = UsmConformerConfig::read(audio, 1024, "");
  c.names = kGemma4Names;
  c.scales_keys = true;
  c.back = c.left - 2;
  c.ahead = std::max(c.right - 1, 0);
  for (int i = (c.chunk + c.left - 1 + c.right) / 2; i >= 0; --i) c.distances.push_back(i);
  const std::string activation = audio.text_or("hidden_act", "silu");
  try {
    c.activation = read_activation(activation);
  } catch (const Error&) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] hidden_act '{}' is not built in", audio.place(), activation));
  }
  return c;
}

class Gemma4AudioEncoder : public MediaEncoder {
 public:
  Gemma4AudioEncoder(const Config& config, const UsmConformerConfig& c, std::pair<int, int> channels, Weights& weights,
                     const WeightPath& path, const WeightPath& projection)
      : type_(weights.activation_type()),
        mels_(channels.first),
        conv0_(usm_conv(path / "subsample_conv_projection" / "layer0" / "conv", 1, channels.first, 1)),
        conv1_(usm_conv(path / "subsample_conv_projection" / "layer1" / "conv", channels.first, channels.second, 1)),
        norm0_(path / "subsample_conv_projection" / "layer0" / "norm", channels.first, c.eps, false),
        norm1_(path / "subsample_conv_projection" / "layer1" / "norm", channels.second, c.eps, false),
        input_(path / "subsample_conv_projection" / "input_proj_linear", channels.first / 4 * channels.second, c.hidden,
               false),
        conformer_(c, path / "layers", type_),
        out_(static_cast<int>(config.object("audio_config").integer_or("output_proj_dims", 1536, 1, 1 << 16))),
        output_(path / "output_proj", c.hidden, out_, true),
        norm_(out_, c.eps),
        projection_(projection, out_, text_hidden_size(config), false) {}

  EncodedMedia encode(const MediaData& data) const override {
    // As many mels as channels, as in the published checkpoints: the projection's width implies it.
    const std::vector<mx::array> windows = windows_of(data, 0, mels_, type_);
    if (windows.size() != 1) throw unfit_audio("it must be one window");
    std::vector<mx::array> stages;
    mx::array x = mx::expand_dims(windows[0], 3);
    x = mx::maximum(norm0_(conv0_(x)), mx::array(0.0F, x.dtype()));
    x = mx::maximum(norm1_(conv1_(x)), mx::array(0.0F, x.dtype()));
    x = input_(mx::flatten(x, 2, 3));
    stages.push_back(x);
    const mx::array features = without_batch(projection_(norm_(output_(conformer_(x, stages)))));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  int mels_;
  Conv2d conv0_, conv1_;
  LayerNorm norm0_, norm1_;
  Linear input_;
  UsmConformer conformer_;
  int out_;
  Linear output_;
  RmsNorm norm_;
  Linear projection_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_gemma4_audio(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"audio_tower", "model.audio_tower"}, "output_proj.weight");
  const WeightPath projection = find_path(weights, {"embed_audio", "model.embed_audio"}, "embedding_projection");
  const Config audio = config.object("audio_config");
  return std::make_unique<Gemma4AudioEncoder>(config, read_gemma4_audio(audio),
                                              usm_channels(audio, "subsampling_conv_channels"), weights, path,
                                              projection / "embedding_projection");
}

}  // namespace mlxk
