#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "models/audio/speech_net.h"

namespace mlxk {

/// How a FrameNet's scores of a frame are read.
struct FrameRule {
  int blank = 0;               // the token of a frame without text
  bool transducer = false;     // scores depend on the text so far; else CTC
  std::vector<int> durations;  // TDT: a step also chooses among these numbers of frames to advance; empty: none
  int max_symbols = 10;        // tokens at one frame; then the next frame follows
};

/// The prediction network's output after a text, [1, …], and its state [1, hidden], h and c of each layer.
struct Prediction {
  mx::array out;
  std::vector<mx::array> state;
};

/// A speech encoder whose frames are scored one after the other: CTC (Graves et al. 2006), a transducer
/// (https://arxiv.org/abs/1211.3711) or a token-and-duration transducer (https://arxiv.org/abs/2304.06795). Its frames
/// are what join() takes, or CTC's logits [1, frames, tokens with the blank], in float32.
class FrameNet : public SpeechNet {
 public:
  const FrameRule& rule() const { return rule_; }

  /// The number of frames of n features.
  virtual int frames_of(int features) const = 0;

  /// Transducers only, as the next two: the predictions after last[r] follows the text of state[r] (empty: none), row
  /// by row.
  virtual std::vector<Prediction> predict(const std::vector<int32_t>& /*last*/,
                                          const std::vector<std::vector<mx::array>>& /*states*/) const {
    throw Error(ErrorKind::internal, "[speech] the model is no transducer");
  }
  /// Logits [R, vocab + 1 + durations] float32 of frames [R, …] after predictions [R, …].
  virtual mx::array join(const mx::array& /*frames*/, const mx::array& /*predictions*/) const {
    throw Error(ErrorKind::internal, "[speech] the model is no transducer");
  }
  /// The number of state arrays, and their width.
  virtual std::pair<int, int> state_shape() const { return {0, 0}; }

 protected:
  FrameNet(SpeechShape shape, FrameRule rule) : SpeechNet(std::move(shape)), rule_(std::move(rule)) {}

 private:
  FrameRule rule_;
};

}  // namespace mlxk
