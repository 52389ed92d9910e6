#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <vector>

#include "nn/cache/cache.h"
#include "sample/selection.h"
#include "worker/speech.h"

namespace mlxk {

/// A candidate text: its caches hold the prompt and all of `tokens` but the last.
struct SpeechRow {
  ModelCache cache;
  std::vector<int32_t> tokens;
  double sum_logprob = 0;
  bool ended = false;
};

/// The search for a window's text: sampled candidates or beams. It chooses tokens; its owner computes the logits.
/// Worker thread.
class SearchState {
 public:
  /// `prompted` has taken the whole prompt; at most `room` tokens may follow it.
  SearchState(const SpeechSearch& search, SpeechRow prompted, float no_speech, int room);

  /// The candidates whose next token is to be computed from their last one. Before the first choose() there is one,
  /// whose last token is the prompt's.
  std::vector<SpeechRow*> active();
  /// Takes the logits [active().size(), vocab] for these candidates and overwrites them. Throws internal if they are
  /// not finite.
  void choose(std::span<float> logits, int64_t vocab);
  bool ended() const { return ended_; }
  SpeechText result() const;

 private:
  void choose_each(std::span<float> logits, int64_t vocab);
  void choose_beams(std::span<float> logits, int64_t vocab);
  void read(std::span<float> row, const std::vector<int32_t>& tokens);
  float logprob(std::span<const float> row, int32_t token);
  double score(const SpeechText& text) const;

  SpeechSearch search_;
  float no_speech_;
  int room_;
  int steps_ = 0;
  bool ended_ = false;
  std::vector<SpeechRow> rows_;
  std::vector<SpeechText> finished_;  // for beams
  std::mt19937_64 random_;
  Selection selection_;
};

}  // namespace mlxk
