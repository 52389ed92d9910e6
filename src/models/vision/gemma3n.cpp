// Gemma 3n (https://ai.google.dev/gemma/docs/gemma-3n): MobileNetV5 over a square image, as in timm's
// mobilenetv5_300m_enc: convolutions, then blocks with multi-query attention. The last two stages are fused and
// averaged to a grid of tokens. The sizes of the tower are in the tensors, not in a configuration. The pixels are
// [1, H, W, 3].
#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/conv_layer.h"
#include "models/vision/parts.h"
#include "models/vision/soft_tokens.h"
#include "models/vision/vision_config.h"
#include "nn/activation.h"
#include "nn/encoder_attention.h"
#include "nn/norm.h"

namespace mlxk {
namespace {

constexpr float kMobileNetEps = 1e-6F;
constexpr int kFirstImageToken = 262'144;

using Layer = std::function<mx::array(const mx::array& x, Stages& stages)>;  // x [1, H, W, channels]

mx::array gelu_tanh(const mx::array& x) { return activate(Activation::gelu_tanh, x); }

/// A convolution, a norm and optionally an activation.
struct ConvNorm {
  ConvNorm(const WeightPath& conv, const WeightPath& norm, int in, int side, bool activates,
           ConvLayerOptions options = {})
      : out(outputs_of(conv)),
        conv(make(conv, in, out, side, options)),
        norm(norm, out, kMobileNetEps),
        activates(activates) {}

  mx::array operator()(const mx::array& x, Stages& stages) const {
    const mx::array y = norm(conv(x, stages));
    stages.push_back(activates ? gelu_tanh(y) : y);
    return stages.back();
  }

  static ConvLayer make(const WeightPath& path, int in, int out, int side, ConvLayerOptions options) {
    options.same = true;
    if (!path.has("bias")) options.bias = false;
    return ConvLayer(path, in, out, side, options);
  }

  int out;
  ConvLayer conv;
  RmsNorm norm;
  bool activates;
};

/// The side of the kernels at `path`, in either order; 1 if there are none.
int side_of(const WeightPath& path) {
  const auto found = path.weights().tensors().find((path / "weight").path());
  return found == path.weights().tensors().end() || found->second.ndim() != 4 ? 1 : found->second.shape(2);
}

/// The output of a block, times `scale` if there is one. Added to the input x if the shapes are the same.
struct Residual {
  Residual(const WeightPath& path, int in, int out, int stride) : skips(in == out && stride == 1) {
    if (path.has("layer_scale.gamma")) scale = path.take("layer_scale.gamma", {out});
  }

  mx::array operator()(const mx::array& x, mx::array y, Stages& stages) const {
    if (scale) y = mx::multiply(y, *scale);
    stages.push_back(skips ? mx::add(x, y) : y);
    return stages.back();
  }

  bool skips;
  std::optional<mx::array> scale;
};

/// A block without depthwise convolutions. `channels`: of the input; set to those of the output.
Layer edge_block(const WeightPath& path, int& channels, int stride) {
  const ConvNorm wide(path / "conv_exp", path / "bn1", channels, side_of(path / "conv_exp"), true, {.stride = stride});
  const ConvNorm narrow(path / "conv_pwl", path / "bn2", wide.out, 1, false);
  const Residual residual(path, channels, narrow.out, stride);
  channels = narrow.out;
  return [=](const mx::array& x, Stages& stages) { return residual(x, narrow(wide(x, stages), stages), stages); };
}

/// Two matrices with optional depthwise convolutions before and between them. The inner one, if any, has the stride.
Layer inverted_block(const WeightPath& path, int& channels, int stride) {
  const auto depthwise = [](const WeightPath& at, int count, int step, bool activates) -> std::optional<ConvNorm> {
    if (!at.has("conv.weight")) return std::nullopt;
    return ConvNorm(at / "conv", at / "bn", count, side_of(at / "conv"), activates, {.stride = step, .groups = count});
  };
  const bool inner_strides = path.has("dw_mid.conv.weight");
  const auto start = depthwise(path / "dw_start", channels, inner_strides ? 1 : stride, false);
  const ConvNorm wide(path / "pw_exp" / "conv", path / "pw_exp" / "bn", channels, 1, true);
  const auto mid = depthwise(path / "dw_mid", wide.out, stride, true);
  const ConvNorm narrow(path / "pw_proj" / "conv", path / "pw_proj" / "bn", wide.out, 1, false);
  const Residual residual(path, channels, narrow.out, stride);
  channels = narrow.out;
  return [=](const mx::array& x, Stages& stages) {
    mx::array y = start ? (*start)(x, stages) : x;
    y = wide(y, stages);
    if (mid) y = (*mid)(y, stages);
    return residual(x, narrow(y, stages), stages);
  };
}

/// Multi-query attention: the heads share keys and values, which may be of a coarser grid.
Layer mobile_attention_block(const WeightPath& path, int channels) {
  const WeightPath at = path / "attn";
  const RmsNorm norm(path / "norm", channels, kMobileNetEps);
  const int dims = outputs_of(at / "key" / "proj"), heads = outputs_of(at / "query" / "proj") / dims;
  const auto matrix = [](const WeightPath& to, int in, int out) { return ConvNorm::make(to, in, out, 1, {}); };
  const auto coarser = [&](const WeightPath& to) -> std::optional<ConvNorm> {
    if (!to.has("down_conv.weight")) return std::nullopt;
    return ConvNorm(to / "down_conv", to / "norm", channels, side_of(to / "down_conv"), false,
                    {.stride = 2, .groups = channels});
  };
  const auto key_grid = coarser(at / "key"), value_grid = coarser(at / "value");
  const ConvLayer query = matrix(at / "query" / "proj", channels, heads * dims);
  const ConvLayer key = matrix(at / "key" / "proj", channels, dims);
  const ConvLayer value = matrix(at / "value" / "proj", channels, dims);
  const ConvLayer out = matrix(at / "output" / "proj", heads * dims, channels);
  const Residual residual(path, channels, channels, 1);
  return [=](const mx::array& x, Stages& stages) {
    const mx::array h = norm(x);
    const auto rows = [&](const mx::array& y) { return mx::reshape(y, {1, -1, dims}); };  // of all heads
    const mx::array k = rows(key(key_grid ? (*key_grid)(h, stages) : h, stages));
    const mx::array v = rows(value(value_grid ? (*value_grid)(h, stages) : h, stages));
    const mx::array seen = attend_to_all(rows(query(h, stages)), k, v, 1, 1 / std::sqrt(static_cast<float>(dims)));
    const mx::array grid = mx::reshape(seen, {1, x.shape(1), x.shape(2), heads * dims});
    return residual(x, out(grid, stages), stages);
  };
}

class Gemma3nEncoder : public MediaEncoder {
 public:
  Gemma3nEncoder(const Config& config, Weights& weights, const WeightPath& tower, const WeightPath& projector)
      : type_(weights.activation_type()) {
    const int length = static_cast<int>(config.integer_or("vision_soft_tokens_per_image", 256, 1, 1 << 16));
    side_ = static_cast<int>(std::lround(std::sqrt(length)));
    if (side_ * side_ != length) {
      throw config.bad("vision_soft_tokens_per_image", fmt::format("must be a square, got {}", length));
    }
    put_channels_last_as(tower / "conv_stem" / "conv", tower / "blocks" / 0 / 0 / "conv_exp");
    int channels = outputs_of(tower / "conv_stem" / "conv");
    layers_.push_back(ConvNorm(tower / "conv_stem" / "conv", tower / "conv_stem" / "bn", 3,
                               side_of(tower / "conv_stem" / "conv"), true, {.stride = 2}));
    for (int stage = 0; add_stage(tower / "blocks" / stage, channels); ++stage) ends_.push_back(layers_.size());
    if (ends_.size() < 2) {
      weights.note(fmt::format("{} must have two stages or more", (tower / "blocks").path()));
      return;
    }
    const int before = widths_[ends_.size() - 2];
    const WeightPath ffn = tower / "msfa" / "ffn";
    joined_.emplace(ffn / "pw_exp" / "conv", ffn / "pw_exp" / "bn", before + channels, 1, true);
    narrow_.emplace(ffn / "pw_proj" / "conv", ffn / "pw_proj" / "bn", joined_->out, 1, false);
    const int width = narrow_->out;
    last_norm_.emplace(tower / "msfa" / "norm", width, kMobileNetEps);
    into_text_.emplace(vision_config(config), projector, width, text_hidden_size(config), kFirstImageToken);
    factor_ = std::sqrt(static_cast<float>(width));
  }

  EncodedMedia encode(const MediaData& data) const override {
    const auto images = images_of(data, 3, type_);
    if (images.size() != 1) throw unfit_media("one image is needed");
    Stages stages;
    std::vector<mx::array> states;  // outputs of the last two stages
    mx::array x = images.front();
    for (size_t i = 0; i < layers_.size(); ++i) {
      x = layers_[i](x, stages);
      if (i + 1 == ends_[ends_.size() - 2] || i + 1 == ends_.back()) states.push_back(x);
    }
    const int rows = states[0].shape(1), columns = states[0].shape(2);
    if (rows % side_ != 0 || columns % side_ != 0 || rows % states[1].shape(1) != 0 ||
        columns % states[1].shape(2) != 0) {
      throw unfit_media(fmt::format("an image of {} × {} pixels does not give a grid of {} × {} tokens",
                                    images.front().shape(1), images.front().shape(2), side_, side_));
    }
    const mx::array coarse =
        mx::repeat(mx::repeat(states[1], rows / states[1].shape(1), 1), columns / states[1].shape(2), 2);
    x = (*narrow_)((*joined_)(mx::concatenate({states[0], coarse}, 3), stages), stages);
    x = mx::reshape(x, {side_, rows / side_, side_, columns / side_, -1});
    x = (*last_norm_)(mx::reshape(mx::mean(x, std::vector<int>{1, 3}), {side_ * side_, -1}));
    stages.push_back((*into_text_)(mx::multiply(x, mx::array(factor_, x.dtype()))));
    const mx::array features = stages.back();
    return {features, {}, std::move(stages)};
  }

  std::vector<TokenTable> tokens() const override { return {into_text_->tokens()}; }

 private:
  /// Adds the blocks at `path`, the first of which halves the grid. False: there are none.
  bool add_stage(const WeightPath& path, int& channels) {
    int i = 0;
    for (;; ++i) {
      const WeightPath block = path / i;
      const int stride = i == 0 ? 2 : 1;
      if (block.has("conv_exp.weight")) {
        layers_.push_back(edge_block(block, channels, stride));
      } else if (block.has("pw_exp.conv.weight")) {
        layers_.push_back(inverted_block(block, channels, stride));
      } else if (block.has("attn.query.proj.weight")) {
        layers_.push_back(mobile_attention_block(block, channels));
      } else {
        break;
      }
    }
    if (i > 0) widths_.push_back(channels);
    return i > 0;
  }

  mx::Dtype type_;
  int side_;  // of the grid of tokens
  float factor_ = 1;
  std::vector<Layer> layers_;
  std::vector<size_t> ends_;  // of the stages, in layers_
  std::vector<int> widths_;   // channels of each stage's output
  std::optional<ConvNorm> joined_, narrow_;
  std::optional<RmsNorm> last_norm_;
  std::optional<SoftTokens> into_text_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_gemma3n_vision(const Config& config, Weights& weights) {
  return std::make_unique<Gemma3nEncoder>(
      config, weights,
      find_path(weights, {"model.vision_tower.timm_model", "vision_tower.timm_model"}, "conv_stem.conv"),
      find_path(weights, {"model.embed_vision", "embed_vision"}, "embedding"));
}

}  // namespace mlxk
