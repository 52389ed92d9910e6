#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "mlx/array.h"
#include "models/held_weights.h"

namespace mlxk {

namespace mx = mlx::core;

/// The sizes of a speech model.
struct SpeechShape {
  std::string model_type;
  int64_t vocab_size = 0;
  int mels = 0;             // features of an audio frame
  int audio_positions = 0;  // positions of a window; two frames each
  int text_positions = 0;
  std::vector<std::pair<int, int>> alignment_heads;  // (layer, head) whose attention follows the audio
  uint64_t weight_bytes = 0;
};

/// The encoder's output for one window, [1, frames, …]. `stages` are the lazy outputs of the encoder's layers;
/// evaluating them one after the other splits the work into pieces.
struct EncodedAudio {
  mx::array frames;
  std::vector<mx::array> stages;
};

/// A speech encoder, whose output a Seq2SeqNet or a FrameNet decodes; constant after loading. Every call on the worker
/// thread.
class SpeechNet : public HeldWeights<SpeechShape> {
 public:
  virtual ~SpeechNet() = default;

  /// Encodes features [1, n, mels], lazily; throws invalid for another shape.
  virtual EncodedAudio encode(const mx::array& features) const = 0;
  /// Likewise, with `conditions`, tokens of the encoder's own that say what to expect of the sound; throws invalid for
  /// others than the model knows.
  virtual EncodedAudio encode_conditioned(const mx::array& features, const std::vector<int32_t>& conditions) const {
    if (conditions.empty()) return encode(features);
    throw Error(ErrorKind::invalid, "[speech] the model accepts no conditions");
  }

 protected:
  explicit SpeechNet(SpeechShape shape) : HeldWeights(std::move(shape)) {}
};

}  // namespace mlxk
