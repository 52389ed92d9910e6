// PaliGemma (https://arxiv.org/abs/2407.07726), Gemma 3 (https://arxiv.org/abs/2503.19786) and Aya Vision
// (https://arxiv.org/abs/2505.08751): a SigLIP tower over square images, and a projector. Pixels are [tiles, size,
// size, 3].
#include <fmt/format.h>

#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

/// The common part of the three: a tower, and a projector that processes its patches tile by tile.
class TileEncoder : public MediaEncoder {
 public:
  TileEncoder(const VisionConfig& c, Weights& weights, bool last_norm)
      : type_(weights.activation_type()),
        c_(c),
        tower_(c,
               find_path(weights,
                         {"vision_tower.vision_model", "vision_tower", "model.vision_tower.vision_model",
                          "model.vision_tower"},
                         "embeddings.patch_embedding"),
               c.num_hidden_layers, last_norm) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    for (const mx::array& tile : images_of(data, c_.channels, type_)) {
      features.push_back(without_batch(project(tower_(tower_.embed(tile, false), stages), stages)));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 protected:
  /// [1, patches, hidden] → [1, tokens, text hidden]
  virtual mx::array project(const mx::array& x, std::vector<mx::array>& stages) const = 0;

  mx::Dtype type_;
  VisionConfig c_;
  Siglip tower_;
};

class PaliGemmaEncoder : public TileEncoder {
 public:
  PaliGemmaEncoder(const Config& config, const VisionConfig& c, Weights& weights)
      : TileEncoder(c, weights, true),
        linear_(find_projector(weights, "linear") / "linear", c.hidden_size, text_hidden_size(config), true) {}

 private:
  mx::array project(const mx::array& x, std::vector<mx::array>& stages) const override {
    return by_rows(x, flops_of(linear_), stages, linear_);
  }

  Linear linear_;
};

class Gemma3Encoder : public TileEncoder {
 public:
  Gemma3Encoder(const Config& config, const VisionConfig& c, Weights& weights)
      : TileEncoder(c, weights, true),
        pool_(pool(config, c)),
        norm_(find_projector(weights, "mm_soft_emb_norm") / "mm_soft_emb_norm", c.hidden_size, c.eps, true),
        linear_(take_transposed(find_projector(weights, "mm_input_projection_weight")), c.hidden_size,
                text_hidden_size(config, 2304)) {}

 private:
  /// Patches of a side that become one token.
  static int pool(const Config& config, const VisionConfig& c) {
    const auto tokens = config.integer_or("mm_tokens_per_image", 256, 1, 1 << 20);
    const int side = static_cast<int>(std::sqrt(static_cast<double>(tokens)));
    if (side > c.grid() || c.grid() % side != 0) {
      throw config.bad("mm_tokens_per_image",
                       fmt::format("must be the square of a divisor of {} patches, got {}", c.grid(), tokens));
    }
    return c.grid() / side;
  }
  /// The matrix is stored as [in, out].
  static WeightPath take_transposed(const WeightPath& path) {
    auto& tensors = path.weights().tensors();
    const WeightPath own = path / "mm_input_projection";
    const auto found = tensors.find(path.path() + ".mm_input_projection_weight");
    if (found != tensors.end() && found->second.ndim() == 2) {
      tensors.emplace((own / "weight").path(), mx::contiguous(mx::transpose(found->second)));
      tensors.erase(found);
    }
    return own;
  }
  mx::array project(const mx::array& x, std::vector<mx::array>& /*stages*/) const override {
    return linear_(norm_(average_pool(x, c_.grid(), c_.grid(), pool_)));
  }

  int pool_;
  RmsNorm norm_;
  Linear linear_;
};

class AyaVisionEncoder : public TileEncoder {
 public:
  AyaVisionEncoder(const Config& config, const VisionConfig& c, Weights& weights)
      : TileEncoder(c, weights, false),
        scale_(static_cast<int>(config.integer_or("downsample_factor", 2, 1, 64))),
        wide_(static_cast<int>(config.integer_or("alignment_intermediate_size", 36864, 2, 1 << 20))),
        norm_(find_projector(weights, "layernorm") / "layernorm", c.hidden_size * scale_ * scale_,
              static_cast<float>(config.number_or("adapter_layer_norm_eps", 1e-6, 0, 1))),
        up_(Linear(find_projector(weights, "linear_1") / "linear_1", c.hidden_size * scale_ * scale_, wide_, true)
                .split({wide_ / 2, wide_ - wide_ / 2})),
        down_(find_projector(weights, "linear_2") / "linear_2", wide_ / 2, text_hidden_size(config), true) {}

 private:
  mx::array project(const mx::array& x, std::vector<mx::array>& stages) const override {
    const mx::array cells = norm_(pixel_shuffle(x, c_.grid(), c_.grid(), scale_));
    return by_rows(cells, 2 * flops_of(up_[0]) + flops_of(down_), stages,
                   [&](const mx::array& h) { return down_(activate_gated(Activation::silu, up_[1](h), up_[0](h))); });
  }

  int scale_, wide_;
  LayerNorm norm_;
  std::vector<Linear> up_;  // values, gates
  Linear down_;
};

constexpr VisionDefaults kSo400m{1152, 4304, 27, 16, 224, 14};

}  // namespace

std::unique_ptr<MediaEncoder> make_paligemma_vision(const Config& config, Weights& weights) {
  return std::make_unique<PaliGemmaEncoder>(config, VisionConfig::read(vision_config(config), kSo400m), weights);
}

std::unique_ptr<MediaEncoder> make_gemma3_vision(const Config& config, Weights& weights) {
  return std::make_unique<Gemma3Encoder>(config, VisionConfig::read(vision_config(config), kSiglipDefaults), weights);
}

std::unique_ptr<MediaEncoder> make_aya_vision_vision(const Config& config, Weights& weights) {
  if (config.has("vision_feature_layer") && config.json()["vision_feature_layer"] != -1) {
    throw config.bad("vision_feature_layer", "must be -1, got " + config.json()["vision_feature_layer"].dump());
  }
  const VisionDefaults defaults{1152, 4304, 27, 16, 364, 14};
  return std::make_unique<AyaVisionEncoder>(config, VisionConfig::read(vision_config(config), defaults), weights);
}

}  // namespace mlxk
