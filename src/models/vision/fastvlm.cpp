// FastVLM (https://arxiv.org/abs/2412.13303): FastViTHD, a convolutional net with attention in its last stages, over a
// square image, and two matrices. The sizes of the tower are in the tensors, not in a configuration. Pixels are
// [1, H, W, 3]; the sides are multiples of the tower's stride. Tensor names are Apple's
// (model.vision_tower.vision_tower.model) or mlx-vlm's (vision_tower.vision_model). Checkpoints are re-parametrised.
#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/conv_layer.h"
#include "models/vision/parts.h"
#include "nn/encoder_attention.h"
#include "nn/norm.h"

namespace mlxk {
namespace {

constexpr int kHeadDim = 32;
constexpr float kFastVitEps = 1e-5F;

using Layer = std::function<mx::array(const mx::array& x, Stages& stages)>;  // x [1, H, W, channels]

mx::array gelu(const mx::array& x) { return activate(Activation::gelu, x); }

/// The factor of each channel, stored as [channels, 1, 1] (PyTorch) or [1, 1, channels] (MLX).
mx::array take_scale(const WeightPath& path, const char* name, int channels) {
  auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / name).path());
  if (found != tensors.end() && found->second.shape() == mx::Shape{channels, 1, 1}) {
    found->second = mx::reshape(found->second, {1, 1, channels});
  }
  return path.take(name, {1, 1, channels});
}

ConvLayer depthwise(const WeightPath& path, int channels, int side, bool bias = true) {
  return ConvLayer(path, channels, channels, side, {.groups = channels, .bias = bias});
}

/// A depthwise convolution with a batch norm, and two matrices.
struct ConvMlp {
  ConvMlp(const WeightPath& path, int channels) : ConvMlp(path, channels, outputs_of(path / "fc1")) {}

  ConvMlp(const WeightPath& path, int channels, int inner)
      : conv(depthwise(path / "conv" / "conv", channels, 7, false)),
        up(path / "fc1", channels, inner, 1),
        down(path / "fc2", inner, channels, 1),
        factor(mx::array(0)),
        offset(mx::array(0)) {
    const WeightPath norm = path / "conv" / "bn";
    const auto of = [&](const char* name) { return norm.take(name, {channels}); };
    const mx::array spread = mx::sqrt(mx::add(of("running_var"), mx::array(kFastVitEps)));
    factor = path.weights().keep(mx::divide(of("weight"), spread));
    offset = path.weights().keep(mx::subtract(of("bias"), mx::multiply(of("running_mean"), factor)));
  }

  mx::array operator()(const mx::array& x, Stages& stages) const {
    const mx::array mixed = staged(mx::add(mx::multiply(conv(x, stages), factor), offset), stages);
    return down(staged(gelu(up(mixed, stages)), stages), stages);
  }

  ConvLayer conv, up, down;
  mx::array factor, offset;
};

Layer conv_block(const WeightPath& path, int channels) {
  return
      [mixer = depthwise(path / "token_mixer" / "reparam_conv", channels, 3), mlp = ConvMlp(path / "convffn", channels),
       scale = take_scale(path, "layer_scale", channels)](const mx::array& x, Stages& stages) {
        const mx::array mixed = staged(mixer(x, stages), stages);
        return staged(mx::add(mixed, mx::multiply(mlp(mixed, stages), scale)), stages);
      };
}

Layer attention_block(const WeightPath& path, int channels) {
  const WeightPath mixer = path / "token_mixer";
  return [channels, norm = LayerNorm(path / "norm", channels, kFastVitEps),
          qkv = Linear(mixer / "qkv", channels, 3 * channels).split({channels, channels, channels}),
          out = Linear(mixer / "proj", channels, channels, true), mlp = ConvMlp(path / "convffn", channels),
          scale1 = take_scale(path, "layer_scale_1", channels),
          scale2 = take_scale(path, "layer_scale_2", channels)](const mx::array& x, Stages& stages) {
    const mx::array h = mx::reshape(norm(x), {1, x.shape(1) * x.shape(2), channels});
    const mx::array seen = attend_to_all(qkv[0](h), qkv[1](h), qkv[2](h), channels / kHeadDim,
                                         1 / std::sqrt(static_cast<float>(kHeadDim)));
    const mx::array mid = staged(mx::add(x, mx::multiply(mx::reshape(out(seen), x.shape()), scale1)), stages);
    return staged(mx::add(mid, mx::multiply(mlp(mid, stages), scale2)), stages);
  };
}

class FastVlmEncoder : public MediaEncoder {
 public:
  FastVlmEncoder(const Config& config, Weights& weights, const WeightPath& tower, const WeightPath& projector)
      : type_(weights.activation_type()) {
    const bool mlx_names = tower.has("patch_embed.blocks.0.reparam_conv.weight");
    const WeightPath stem = mlx_names ? tower / "patch_embed" / "blocks" : tower / "patch_embed";
    channels_ = outputs_of(stem / 0 / "reparam_conv");
    put_channels_last_as(stem / 0 / "reparam_conv", stem / 1 / "reparam_conv");
    add_mobile_one(stem / 0, 3, {.stride = 2}, 3);
    add_mobile_one(stem / 1, channels_, {.stride = 2, .groups = channels_}, 3);
    add_mobile_one(stem / 2, channels_, {}, 1);
    stride_ = 4;
    for (int i = 0; add_network(tower / "network" / i); ++i) {
    }
    add_last(tower / "conv_exp");
    weights.take_unused([&](const std::string& name) {
      return name.starts_with((tower / "head").path() + ".") ||
             (name.starts_with(tower.path() + ".") && name.ends_with(".num_batches_tracked"));
    });
    projector_.emplace(projector, channels_, text_hidden_size(config), text_hidden_size(config), Activation::gelu, true,
                       "0", "2");
  }

  EncodedMedia encode(const MediaData& data) const override {
    const auto images = images_of(data, 3, type_);
    mx::array x = images.front();
    if (images.size() != 1 || x.shape(1) % stride_ != 0 || x.shape(2) % stride_ != 0) {
      throw unfit_media(fmt::format("one image with sides that are multiples of {} is needed", stride_));
    }
    Stages stages;
    for (const Layer& layer : layers_) x = layer(x, stages);
    x = without_batch((*projector_)(mx::reshape(x, {1, x.shape(1) * x.shape(2), channels_}), stages));
    stages.push_back(x);
    return {x, {}, std::move(stages)};
  }

 private:
  void add_mobile_one(const WeightPath& path, int in, const ConvLayerOptions& options, int side) {
    layers_.push_back([conv = ConvLayer(path / "reparam_conv", in, channels_, side, options)](
                          const mx::array& x, Stages& stages) { return staged(gelu(conv(x, stages)), stages); });
  }

  /// Adds the entry of the network at `path`: positions, fewer and wider patches, or blocks. False: there is none.
  bool add_network(const WeightPath& path) {
    if (path.has("reparam_conv.weight")) {
      layers_.push_back([conv = depthwise(path / "reparam_conv", channels_, 7)](const mx::array& x, Stages& stages) {
        return staged(conv(x, stages), stages);
      });
      return true;
    }
    const WeightPath wider = path / "proj";
    if (wider.has("0.lkb_reparam.weight")) {
      const int in = channels_;
      channels_ = outputs_of(wider / 0 / "lkb_reparam");
      layers_.push_back([conv = ConvLayer(wider / 0 / "lkb_reparam", in, channels_, 7, {.stride = 2, .groups = in})](
                            const mx::array& x, Stages& stages) { return staged(gelu(conv(x, stages)), stages); });
      add_mobile_one(wider / 1, channels_, {}, 1);
      stride_ *= 2;
      return true;
    }
    int blocks = 0;
    for (; (path / blocks).has("convffn.fc1.weight"); ++blocks) {
      const WeightPath block = path / blocks;
      const bool attends = block.has("token_mixer.qkv.weight");
      layers_.push_back(attends ? attention_block(block, channels_) : conv_block(block, channels_));
    }
    return blocks > 0;
  }

  /// Adds the last, wider convolution with squeeze-and-excitation: weights of channels from their means.
  void add_last(const WeightPath& path) {
    const int in = channels_, inner = outputs_of(path / "se" / "reduce");
    channels_ = outputs_of(path / "reparam_conv");
    layers_.push_back(
        [conv = ConvLayer(path / "reparam_conv", in, channels_, 3, {.groups = in}),
         reduce = ConvLayer(path / "se" / "reduce", channels_, inner, 1),
         expand = ConvLayer(path / "se" / "expand", inner, channels_, 1)](const mx::array& x, Stages& stages) {
          const mx::array wide = staged(conv(x, stages), stages);
          const mx::array mean = mx::mean(wide, std::vector<int>{1, 2}, true);
          const mx::array weight = mx::sigmoid(expand(activate(Activation::relu, reduce(mean, stages)), stages));
          return staged(gelu(mx::multiply(wide, weight)), stages);
        });
  }

  mx::Dtype type_;
  int channels_ = 0;  // outputs of the layers so far
  int stride_ = 0;    // pixels per token along a side
  std::vector<Layer> layers_;
  std::optional<Projector> projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_llava_qwen2_vision(const Config& config, Weights& weights) {
  if (const std::string type = config.text_or("mm_projector_type", "mlp2x_gelu"); type != "mlp2x_gelu") {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] mm_projector_type '{}' is not built in", config.place(), type));
  }
  return std::make_unique<FastVlmEncoder>(
      config, weights,
      find_path(weights, {"vision_tower.vision_model", "model.vision_tower.vision_tower.model"},
                "conv_exp.reparam_conv"),
      find_path(weights, {"mm_projector", "model.mm_projector"}, "0"));
}

std::unique_ptr<MediaEncoder> make_fastvlm_vision(const Config& config, Weights& weights) {
  return make_llava_qwen2_vision(config, weights);
}

}  // namespace mlxk
