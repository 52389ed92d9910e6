// Qwen2-Audio's encoder (transformers' qwen2_audio): Whisper's over the frames without padding, means of pairs of
// its states, one projection. Features are [1, 2 * positions, mels]; grid {frames without padding}.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

class Qwen2AudioEncoder : public MediaEncoder {
 public:
  Qwen2AudioEncoder(const Config& config, const AudioConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        tower_(c, path, type_),
        norm_(path / "layer_norm", c.hidden_size, c.eps),
        projection_(find_projector(weights, "linear") / "linear", c.hidden_size, text_hidden_size(config, 4096), true) {
  }

  EncodedMedia encode(const MediaData& data) const override {
    const std::vector<mx::array> windows = windows_of(data, 2 * c_.positions, c_.mels, type_);
    const int frames = grid_number(data, 0, 2 * c_.positions), length = (frames - 1) / 2 + 1;
    if (windows.size() != 1 || length < 2) throw unfit_audio("it must be one window of three frames or more");
    std::vector<mx::array> stages;
    mx::array x = tower_(windows[0], length, stages);
    const int pairs = length / 2;
    x = mx::slice(x, {0, 0, 0}, {1, 2 * pairs, c_.hidden_size});
    x = mx::mean(mx::reshape(x, {pairs, 2, c_.hidden_size}), 1);
    const mx::array features = projection_(norm_(x));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  AudioConfig c_;
  WhisperTower tower_;
  LayerNorm norm_;
  Linear projection_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_qwen2_audio_audio(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"audio_tower", "model.audio_tower"}, "conv1.weight");
  return std::make_unique<Qwen2AudioEncoder>(config, AudioConfig::read(config), weights, path);
}

}  // namespace mlxk
