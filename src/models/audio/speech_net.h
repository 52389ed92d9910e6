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
  int mels = 0;             // features of an audio frame
  int audio_positions = 0;  // positions of a window; two frames each
  int text_positions = 0;
  std::vector<std::pair<int, int>> alignment_heads;  // (layer, head) whose attention follows the audio
  uint64_t weight_bytes = 0;
};

/// The encoder's output for one window: the keys and values of each of the decoder's layers. `stages` are the lazy
/// outputs of the encoder's layers; evaluating them one after the other splits the work into pieces.
struct EncodedAudio {
  std::vector<CrossKeys> layers;
  std::vector<mx::array> stages;
  std::vector<mx::array> arrays() const;
};

/// A speech encoder and a text decoder that attends to it; constant after loading. Every call on the worker thread.
class SpeechNet : public HeldWeights<SpeechShape> {
 public:
  virtual ~SpeechNet() = default;

  /// Encodes features [1, 2 * audio_positions, mels], lazily; throws invalid for another shape.
  virtual EncodedAudio encode(const mx::array& features) const = 0;
  /// Empty caches for `rows` texts.
  virtual ModelCache make_cache(int rows) const = 0;
  /// Appends ids [B, L] int32 to `cache`, with row r attending to encoded[r]; lazy logits [B, L, vocab], or of each
  /// row's last token only [B, 1, vocab].
  virtual mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const EncodedAudio*>& encoded,
                            bool last_only) const = 0;

  struct Aligned {
    mx::array logits;               // [1, L, vocab]
    std::vector<mx::array> scores;  // per alignment head, [L, audio_positions], before the softmax
  };
  /// Computes one text from its beginning, with its tokens' attention to the audio.
  virtual Aligned align(const mx::array& ids, const EncodedAudio& encoded) const = 0;

 protected:
  explicit SpeechNet(SpeechShape shape) : HeldWeights(std::move(shape)) {}
};

}  // namespace mlxk
