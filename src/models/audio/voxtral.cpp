// Voxtral's encoder (transformers' voxtral): Whisper's, consecutive states concatenated to one vector, two projections.
// Features are [windows, 2 * positions, mels], 30 seconds each.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

class VoxtralEncoder : public MediaEncoder {
 public:
  VoxtralEncoder(const Config& config, const AudioConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        tower_(c, path, type_),
        norm_(path / "layer_norm", c.hidden_size, c.eps),
        projector_(find_projector(weights, "linear_1"), c.intermediate_size, text_hidden_size(config, 3072),
                   text_hidden_size(config, 3072), projector_activation(config), false) {
    if (c.positions * c.hidden_size % c.intermediate_size != 0) {
      throw config.object("audio_config")
          .bad("intermediate_size", fmt::format("must divide max_source_positions times hidden_size, {}, got {}",
                                                c.positions * c.hidden_size, c.intermediate_size));
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> features, stages;
    for (const mx::array& window : windows_of(data, 2 * c_.positions, c_.mels, type_)) {
      const mx::array x = norm_(tower_(window, c_.positions, stages));
      features.push_back(projector_(mx::reshape(x, {-1, c_.intermediate_size})));
      stages.push_back(features.back());
    }
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  AudioConfig c_;
  WhisperTower tower_;
  LayerNorm norm_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_voxtral_audio(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"audio_tower", "model.audio_tower"}, "conv1.weight");
  return std::make_unique<VoxtralEncoder>(config, AudioConfig::read(config), weights, path);
}

}  // namespace mlxk
