#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/completion.h"
#include "server/answer/answer_delta.h"
#include "tokenizer/tokenizer.h"
#include "worker/event.h"

namespace mlxk {

/// One choice of an answer: turns the engine's events into the client's text. One thread at a time.
class AnswerChoice {
 public:
  /// `logprobs`: deltas carry scores. `inline_reasoning`: reasoning is part of the content, as in MLX Knife. `ends`:
  /// tokens that end the answer and have no text; if there are any, special tokens have scores too.
  AnswerChoice(std::shared_ptr<const Tokenizer> tokenizer, Completion completion, bool logprobs, bool inline_reasoning,
               std::vector<int32_t> ends = {});

  /// Returns the prompt's text and, if requested, its scores; before anything else (echo).
  AnswerDelta echo(std::string text, std::vector<ScoredToken> scores);
  /// Returns the part that a token adds; empty once stopped.
  AnswerDelta push(const TokenEvent& event);
  /// Returns the text held back, when the engine ends. Call it once.
  AnswerDelta finish(const DoneEvent& done);

  /// Whether a stop string or an end token came: the engine can stop.
  bool stopped() const { return ended_ || completion_.stopped(); }
  /// Absent until finished, and after a cancellation.
  std::optional<AnswerFinish> finish_reason() const { return finish_reason_; }
  /// Valid after finish().
  const Usage& usage() const { return usage_; }
  int64_t reasoning_tokens() const { return completion_.reasoning_tokens(); }

 private:
  AnswerDelta end(const TokenEvent& event);
  AnswerDelta delta_of(std::vector<Part> parts);
  /// Moves held scores to `delta` if its text is that of their tokens.
  void attach_scores(AnswerDelta& delta);

  std::shared_ptr<const Tokenizer> tokenizer_;
  Completion completion_;
  PartFormatter formatter_{true};
  bool logprobs_, inline_reasoning_;
  std::vector<int32_t> ends_;
  bool ended_ = false;                          // by a token of ends_
  std::vector<ScoredToken> held_scores_;        // of tokens whose text is not shown yet
  int64_t text_offset_ = 0;                     // characters of the tokens so far
  int64_t pushed_bytes_ = 0, shown_bytes_ = 0;  // of tokens and of content, since content began
  bool in_content_ = false;                     // the last shown text is content
  int64_t tokens_ = 0;
  std::optional<AnswerFinish> finish_reason_;
  Usage usage_;
};

/// Counts the characters of `bytes` by their first bytes.
int64_t count_characters(std::string_view bytes);

}  // namespace mlxk
