#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "nn/attention.h"
#include "nn/encoder_attention.h"
#include "nn/mlp.h"

namespace mlxk {

/// The sizes of a speech model.
struct SpeechShape {
  std::string model_type;
  int64_t vocab_size = 0;
  int mels = 0;             // features of a frame of sound
  int audio_positions = 0;  // of a window; two frames each
  int text_positions = 0;
  std::vector<std::pair<int, int>> alignment_heads;  // (layer, head) whose attention follows the sound
  uint64_t weight_bytes = 0;
};

/// One window of sound as the decoder sees it: the keys and values of each of its layers. `stages`: what the encoder
/// has after each of its layers, lazy like the rest; evaluated one after the other the work is done in pieces.
struct EncodedAudio {
  std::vector<CrossKeys> layers;
  std::vector<mx::array> stages;
  std::vector<mx::array> arrays() const;
};

/// An encoder of sound and a decoder of text that listens to it; constant after loading. Every call on the worker
/// thread.
class SpeechNet : public HeldWeights<SpeechShape> {
 public:
  virtual ~SpeechNet() = default;

  /// Features [1, 2 * audio_positions, mels] → what is encoded, lazy; throws invalid for another shape.
  virtual EncodedAudio encode(const mx::array& features) const = 0;
  /// Empty caches for `rows` texts.
  virtual ModelCache make_cache(int rows) const = 0;
  /// Appends ids [B, L] int32 to `cache`, row r listening to encoded[r]; lazy logits [B, L, vocab], of each row's last
  /// token only [B, 1, vocab] if asked.
  virtual mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const EncodedAudio*>& encoded,
                            bool last_only) const = 0;

  struct Aligned {
    mx::array logits;               // [1, L, vocab]
    std::vector<mx::array> scores;  // of each alignment head, [L, audio_positions], before the softmax
  };
  /// One text from its beginning, and how its tokens look at the sound.
  virtual Aligned align(const mx::array& ids, const EncodedAudio& encoded) const = 0;

 protected:
  explicit SpeechNet(SpeechShape shape) : HeldWeights(std::move(shape)) {}
};

}  // namespace mlxk
