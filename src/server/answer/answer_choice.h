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
#include "worker/request.h"

namespace mlxk {

/// One choice of an answer on its way from the engine's events to what a client sees. One thread at a time.
class AnswerChoice {
 public:
  /// `logprobs`: deltas carry scores. `inline_reasoning`: reasoning is written into the content, as the original does.
  /// `ends`: tokens that end the answer, without a text; where there are any, special tokens have scores too.
  AnswerChoice(std::shared_ptr<const Tokenizer> tokenizer, Completion completion, bool logprobs, bool inline_reasoning,
               std::vector<int32_t> ends = {});

  /// The prompt's text and, where they are asked for, its scores, before anything else (echo).
  AnswerDelta echo(std::string text, std::vector<ScoredToken> scores);
  /// What a token adds; nothing once stopped.
  AnswerDelta push(const TokenEvent& event);
  /// What was held back when the engine ends. Call once.
  AnswerDelta finish(const DoneEvent& done);

  /// Whether a stop string or an end came: the engine need not go on.
  bool stopped() const { return ended_ || completion_.stopped(); }
  /// None until finished, and where the engine was stopped by something else.
  std::optional<AnswerFinish> finish_reason() const { return finish_reason_; }
  /// After finish(), without the prompt where several choices share it.
  const Usage& usage() const { return usage_; }
  int64_t reasoning_tokens() const { return completion_.reasoning_tokens(); }

 private:
  AnswerDelta end(const TokenEvent& event);
  AnswerDelta delta_of(std::vector<Part> parts);
  /// Gives the scores that wait to `delta`, if its text is theirs.
  void attach_scores(AnswerDelta& delta);

  std::shared_ptr<const Tokenizer> tokenizer_;
  Completion completion_;
  PartFormatter formatter_{true};
  bool logprobs_, inline_reasoning_;
  std::vector<int32_t> ends_;
  bool ended_ = false;                          // by one of them
  std::vector<ScoredToken> held_scores_;        // of tokens whose text was not shown yet
  int64_t text_offset_ = 0;                     // characters of the tokens so far
  int64_t pushed_bytes_ = 0, shown_bytes_ = 0;  // of tokens and of content, since content began
  bool in_content_ = false;                     // what was shown last is content
  int64_t tokens_ = 0;
  std::optional<AnswerFinish> finish_reason_;
  Usage usage_;
};

/// The characters of `bytes`, counted where each begins.
int64_t count_characters(std::string_view bytes);

}  // namespace mlxk
