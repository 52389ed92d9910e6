#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/voice.h"
#include "speech/options.h"
#include "speech/segments.h"
#include "speech/transcript.h"
#include "speech/vocabulary.h"
#include "worker/speech.h"

namespace mlxk {

/// The result of one window.
struct WindowOutcome {
  int language = 0;
  float language_probability = 1;
  SpeechText found;
  float temperature = 0;
  std::string text;
  double compression_ratio = 0;
  bool silent = false;  // nobody speaks: the text is dropped
  SpeechDoubt doubt = SpeechDoubt::none;
  WindowCut cut;
  std::optional<SpeechAlignment> alignment;  // for all text tokens of the segments, if words were requested
};

/// The tasks for one window: its language, its text at rising temperatures until one is good enough, and its words'
/// times. next() is called on the worker thread, the other functions before and after.
class WindowPlan {
 public:
  /// Without a `language` it is detected. `context`: the tokens before the window's text, as many as fit. `heard`: the
  /// kinds of the window's frames, if text that nobody spoke should be dropped.
  WindowPlan(std::shared_ptr<const SpeechVocabulary> vocabulary, const TranscribeOptions& options,
             std::optional<int> language, std::vector<int32_t> context, int text_positions, int64_t frames,
             std::vector<FrameKind> heard);
  SpeechTask next(const SpeechAnswer& answer);
  WindowOutcome& outcome() { return outcome_; }

 private:
  SpeechTask take(const SpeechEncoded&);
  SpeechTask take(const SpeechLanguages& answer);
  SpeechTask take(const SpeechText& answer);
  SpeechTask take(const SpeechAlignment& answer);
  SpeechTask take(const SpeechEmitted& answer);
  SpeechTask search() const;
  SpeechDoubt doubt_of(const SpeechText& text) const;
  bool is_silent() const;

  std::shared_ptr<const SpeechVocabulary> vocabulary_;
  TranscribeOptions options_;
  std::optional<int> language_;
  std::vector<int32_t> context_;
  int text_positions_;
  int64_t frames_;
  std::vector<FrameKind> heard_;
  size_t attempt_ = 0;  // an index into the temperatures
  WindowOutcome outcome_;
};

}  // namespace mlxk
