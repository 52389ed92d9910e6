#include "server/answer/answer_choice.h"

#include <algorithm>
#include <utility>

namespace mlxk {

AnswerChoice::AnswerChoice(std::shared_ptr<const Tokenizer> tokenizer, Completion completion, bool logprobs,
                           bool inline_reasoning, std::vector<int32_t> ends)
    : tokenizer_(std::move(tokenizer)),
      completion_(std::move(completion)),
      logprobs_(logprobs),
      inline_reasoning_(inline_reasoning),
      ends_(std::move(ends)) {}

AnswerDelta AnswerChoice::delta_of(std::vector<Part> parts) {
  AnswerDelta delta;
  for (Part& part : parts) {
    if (part.kind == Part::Kind::tool_call) {
      delta.tool_calls.push_back(std::move(part.call));
    } else if (inline_reasoning_) {
      delta.content += formatter_.format({part});
    } else {
      (part.kind == Part::Kind::answer ? delta.content : delta.reasoning) += part.text;
    }
  }
  return delta;
}

AnswerDelta AnswerChoice::echo(std::string text, std::vector<ScoredToken> scores) {
  text_offset_ = count_characters(text);
  AnswerDelta delta;
  delta.content = std::move(text);
  delta.scores = std::move(scores);
  return delta;
}

AnswerDelta AnswerChoice::push(const TokenEvent& event) {
  if (stopped()) return {};
  ++tokens_;
  if (std::find(ends_.begin(), ends_.end(), event.token) != ends_.end()) return end(event);
  AnswerDelta delta = delta_of(completion_.push(event.token));
  if (logprobs_ && !tokenizer_->is_special(event.token)) {
    const std::string bytes = tokenizer_->token_bytes(event.token);
    held_scores_.push_back({event, text_offset_});
    text_offset_ += count_characters(bytes);
    pushed_bytes_ += static_cast<int64_t>(bytes.size());
  }
  attach_scores(delta);
  // Evaluation harnesses count tokens: those without a text have a score, too.
  if (!ends_.empty() && tokenizer_->is_special(event.token)) delta.scores.push_back({event, text_offset_});
  return delta;
}

AnswerDelta AnswerChoice::end(const TokenEvent& event) {
  AnswerDelta delta = delta_of(completion_.finish());
  ended_ = true;
  attach_scores(delta);
  delta.scores.push_back({event, text_offset_});
  return delta;
}

void AnswerChoice::attach_scores(AnswerDelta& delta) {
  if (!logprobs_) return;
  const auto size_of = [&](const ScoredToken& one) {
    return static_cast<int64_t>(tokenizer_->token_bytes(one.event.token).size());
  };
  if (delta.content.empty() && !(delta.reasoning.empty() && delta.tool_calls.empty())) {
    held_scores_.clear();
    in_content_ = false;
  }
  if (!delta.content.empty()) {
    if (!in_content_) {
      // Tags and blanks around the reasoning are not tokens of the content.
      const auto wanted = static_cast<int64_t>(inline_reasoning_ ? INT64_MAX : delta.content.size());
      size_t first = held_scores_.size();
      pushed_bytes_ = 0;
      while (first > 0 && pushed_bytes_ < wanted) pushed_bytes_ += size_of(held_scores_[--first]);
      held_scores_.erase(held_scores_.begin(), held_scores_.begin() + static_cast<std::ptrdiff_t>(first));
      shown_bytes_ = 0;
      in_content_ = true;
    }
    shown_bytes_ += static_cast<int64_t>(delta.content.size());
  }
  if (stopped()) {
    // The tokens of the stop string are not shown, so neither are their scores.
    int64_t start = pushed_bytes_;
    while (!held_scores_.empty() && (start -= size_of(held_scores_.back())) >= shown_bytes_) held_scores_.pop_back();
  }
  if (!delta.content.empty() || stopped()) delta.scores = std::exchange(held_scores_, {});
}

AnswerDelta AnswerChoice::finish(const DoneEvent& done) {
  usage_ = done.usage;
  if (stopped()) {
    usage_.completion_tokens = tokens_;  // the engine was a few tokens ahead
    finish_reason_ = completion_.tool_calls() > 0 ? AnswerFinish::tool_calls : AnswerFinish::stop;
    return {};
  }
  AnswerDelta delta = delta_of(completion_.finish());
  attach_scores(delta);
  if (in_content_ && !held_scores_.empty()) delta.scores = std::exchange(held_scores_, {});
  switch (done.reason) {
    case FinishReason::stop:
      finish_reason_ = completion_.tool_calls() > 0 ? AnswerFinish::tool_calls : AnswerFinish::stop;
      break;
    case FinishReason::length: finish_reason_ = AnswerFinish::length; break;
    case FinishReason::cancelled: break;
  }
  return delta;
}

int64_t count_characters(std::string_view bytes) {
  return std::count_if(bytes.begin(), bytes.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace mlxk
