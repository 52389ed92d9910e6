#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/backend.h"

namespace mlxk {

/// A request whose texts are computed a few at a time, the longest first.
class TextsAtWork : public Sequence {
 public:
  explicit TextsAtWork(EmbedRequest request);
  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }
  DoneEvent done(FinishReason reason) const { return {reason, {.prompt_tokens = computed_}, {}}; }

  /// The index of the next text; call it only if one is left.
  size_t next() const { return order_[taken_]; }
  bool has_next() const { return taken_ < order_.size(); }
  size_t take() { return order_[taken_++]; }
  const EncodedText& text(size_t index) const { return request_.texts[index]; }
  const std::vector<int32_t>& score_tokens() const { return request_.score_tokens; }
  const EmbedOutputs& outputs() const { return request_.outputs; }
  /// Counts a finished text; returns whether it was the last of its request.
  bool give(size_t index);
  PrefillEvent progress() const { return {computed_, total_}; }

 private:
  EmbedRequest request_;
  std::vector<size_t> order_;
  size_t taken_ = 0, given_ = 0;
  int64_t computed_ = 0, total_ = 0;  // tokens
};

/// A text that is computed in a step.
struct ChosenText {
  size_t sequence;  // an index into the running requests
  size_t index;     // an index into its texts
};

/// Takes texts from the requests in turn, starting with `first`, until the next one would exceed `tokens`; at least
/// one. The result is sorted by length, longest first, so that texts of equal length are adjacent.
std::vector<ChosenText> choose_texts(std::span<Sequence* const> running, size_t first, int64_t tokens);

}  // namespace mlxk
