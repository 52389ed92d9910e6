#pragma once

#include <utility>
#include <vector>

#include "models/audio/speech_net.h"
#include "models/model.h"
#include "nn/attention.h"
#include "nn/encoder_attention.h"

namespace mlxk {

/// What the decoder reads of one window: the keys and values of each of its layers.
using WindowKeys = std::vector<CrossKeys>;

/// A speech encoder and a text decoder that attends to its output.
class Seq2SeqNet : public SpeechNet {
 public:
  /// The decoder's keys and values of the encoder's output [1, frames, hidden], lazily.
  WindowKeys window_keys(const mx::array& frames) const;
  /// Empty caches for `rows` texts.
  ModelCache make_cache(int rows) const;
  /// Appends ids [B, L] int32 to `cache`, with row r attending to windows[r]; lazy logits [B, L, vocab], or of each
  /// row's last token only [B, 1, vocab].
  virtual mx::array forward(const mx::array& ids, ModelCache& cache, const std::vector<const WindowKeys*>& windows,
                            bool last_only) const = 0;

  struct Aligned {
    mx::array logits;               // [1, L, vocab]
    std::vector<mx::array> scores;  // per alignment head, [L, audio_positions], before the softmax
  };
  /// Computes one text from its beginning, with its tokens' attention to the audio.
  virtual Aligned align(const mx::array& ids, const WindowKeys& window) const = 0;

 protected:
  /// `decoder`: the sizes of the text decoder, whose context_length is shape.text_positions.
  Seq2SeqNet(SpeechShape shape, ModelShape decoder) : SpeechNet(std::move(shape)), decoder_(std::move(decoder)) {}

  /// The projection of the encoder's output to the keys and values of decoder layer `layer`.
  virtual const CrossProjection& cross_projection(int layer) const = 0;
  /// The positions of `inputs` after `cache`; throws invalid for more tokens than text_positions, or if there is not
  /// one of `windows` for each row.
  Positions text_positions_of(const Inputs& inputs, const ModelCache& cache,
                              const std::vector<const WindowKeys*>& windows) const;
  /// What decoder layer `layer` reads of each window.
  static std::vector<const CrossKeys*> keys_of(const std::vector<const WindowKeys*>& windows, size_t layer);

 private:
  ModelShape decoder_;
};

}  // namespace mlxk
