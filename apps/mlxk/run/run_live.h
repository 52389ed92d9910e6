#pragma once

#include "run/loaded_speech.h"
#include "run/run_speech.h"

namespace mlxk {

/// Raw 16-bit mono sound on stdin, read ahead on a thread of its own: a recorder need not wait while the model loads.
class LiveInput {
 public:
  LiveInput();
  ~LiveInput();
  LiveInput(const LiveInput&) = delete;
  LiveInput& operator=(const LiveInput&) = delete;

  /// The bytes that have arrived; waits up to 50 ms for some. Throws io.
  std::string take();
  /// Whether all bytes were taken.
  bool ended() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Transcribes `input` turn by turn while somebody speaks, and prints each turn's text as soon as it is final; texts of
/// the turn in progress too, on a terminal and in JSON. Ends with the input; throws cancelled after Ctrl-C.
int transcribe_live(const SpeechRun& run, const LoadedSpeech& model, LiveInput& input);

}  // namespace mlxk
