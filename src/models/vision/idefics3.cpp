// Idefics 3 (https://arxiv.org/abs/2408.12637) and SmolVLM (https://arxiv.org/abs/2504.05299): a SigLIP tower over each
// tile, blocks of patches concatenated, one matrix. Pixels are [tiles, H, W, 3] with the whole image last.
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/shuffle.h"
#include "models/vision/siglip.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kIdefics3{1152, 3072, 12, 16, 224, 32};

class Idefics3Encoder : public MediaEncoder {
 public:
  Idefics3Encoder(const Config& config, const VisionConfig& c, int scale, Weights& weights)
      : type_(weights.activation_type()),
        scale_(scale),
        channels_(c.channels),
        tower_(c, find_path(weights, {"vision_model", "model.vision_model"}, "embeddings.patch_embedding"),
               c.num_hidden_layers),
        projection_(find_path(weights, {"connector", "model.connector"}, "modality_projection.proj") /
                        "modality_projection" / "proj",
                    c.hidden_size * scale * scale, text_hidden_size(config)) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    for (const mx::array& tile : images_of(data, channels_, type_)) {
      const mx::array x = tower_(tower_.embed(tile, true), stages);
      const int rows = tile.shape(1) / tower_.patch_size(), columns = tile.shape(2) / tower_.patch_size();
      features.push_back(without_batch(projection_(pixel_shuffle(x, rows, columns, scale_))));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  int scale_, channels_;
  Siglip tower_;
  Linear projection_;
};

std::unique_ptr<MediaEncoder> make(const Config& config, Weights& weights) {
  const VisionConfig c = VisionConfig::read(vision_config(config), kIdefics3);
  const int scale = static_cast<int>(config.integer_or("scale_factor", 2, 1, 64));
  return std::make_unique<Idefics3Encoder>(config, c, scale, weights);
}

}  // namespace

std::unique_ptr<MediaEncoder> make_idefics3_vision(const Config& config, Weights& weights) {
  return make(config, weights);
}
std::unique_ptr<MediaEncoder> make_smolvlm_vision(const Config& config, Weights& weights) {
  return make(config, weights);
}

}  // namespace mlxk
