// Mistral Small 3.1 and its successors: Pixtral's tower, blocks of patches merged to one vector, and two matrices.
// Pixels are [1, H, W, 3].
#include "json/json.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

Config with_pixtral(const Config& config) {
  Json json = config.json();
  if (!config.has("vision_config")) json["vision_config"] = Json::object();
  json["vision_config"]["model_type"] = "pixtral";
  return Config(std::move(json), config.place());
}

double text_eps(const Config& config) {
  return config.has("text_config") ? config.object("text_config").number_or("rms_norm_eps", 1e-5, 0, 1) : 1e-5;
}

class Mistral3Encoder : public MediaEncoder {
 public:
  Mistral3Encoder(const Config& config, Weights& weights)
      : Mistral3Encoder(config, weights, find_projector(weights, "linear_1")) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    for (const mx::array& image : images_of(data, tower_.config().channels, type_)) {
      const int patch = tower_.config().patch_size;
      const mx::array x = norm_(tower_(image, stages));
      const mx::array cells = unfold(x, image.shape(1) / patch, image.shape(2) / patch, merge_);
      features.push_back(without_batch(projector_(by_rows(cells, flops_of(merging_), stages, merging_), stages)));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  Mistral3Encoder(const Config& config, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        merge_(static_cast<int>(config.integer_or("spatial_merge_size", 2, 1, 64))),
        tower_(with_pixtral(config), weights, -1, "full"),
        norm_(path / "norm", tower_.width(), static_cast<float>(text_eps(config))),
        merging_(path / "patch_merger" / "merging_layer", tower_.width() * merge_ * merge_, tower_.width()),
        projector_(path, tower_.width(), text_hidden_size(config, 4096), text_hidden_size(config, 4096),
                   projector_activation(config), config.flag_or("multimodal_projector_bias", false)) {}

  mx::Dtype type_;
  int merge_;
  ChosenStates tower_;
  RmsNorm norm_;
  Linear merging_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_mistral3_vision(const Config& config, Weights& weights) {
  return std::make_unique<Mistral3Encoder>(config, weights);
}

}  // namespace mlxk
