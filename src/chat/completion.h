#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "chat/reasoning.h"
#include "chat/stop_strings.h"
#include "chat/tool_calls.h"
#include "chat/tools.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The way from token ids to what a reader sees: characters, stop strings, reasoning, tool calls. One thread at a time.
class Completion {
 public:
  /// `stops` are the request's own; those of the tokenizer come on top. Without `calls`, or where `tools` are not
  /// active, calls are text.
  Completion(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stops, ReasoningFormat format,
             const ToolFormat* calls = nullptr, const ToolOptions& tools = {});
  /// One for another answer to the same prompt; looks nothing up in the vocabulary.
  Completion again() const { return Completion(tokenizer_, asked_); }

  /// The parts that `id` completes; nothing once stopped.
  std::vector<Part> push(int32_t id);
  /// What is held back when the ids end. Call once.
  std::vector<Part> finish();
  /// Whether the rest of the output is not wanted: a stop string came, or the one call that was allowed is complete.
  bool stopped() const { return stops_.stopped() || tools_.complete(); }
  /// Tool calls begun so far: with at least one, an answer that stops has finished for its `tool_calls`.
  int tool_calls() const { return tools_.calls(); }
  /// Tokens so far that began in the reasoning: those between its markers, blanks among them.
  int64_t reasoning_tokens() const { return reasoning_tokens_; }

 private:
  /// What does not change with an answer.
  struct Asked {
    ReasoningFormat format;
    const ToolFormat* calls;
    ToolOptions tools;
    std::vector<std::string> stops;    // the implicit ones too
    std::vector<std::string> markers;  // that end no answer: those of reasoning and calls
    bool is_control(const std::string& token) const;
  };
  Completion(std::shared_ptr<const Tokenizer> tokenizer, std::shared_ptr<const Asked> asked);
  void count_reasoning(const std::string& text, bool began_inside);
  std::vector<Part> pass(const std::string& text);
  std::vector<Part> find_calls(std::vector<Part> parts);
  std::vector<Part> end(std::vector<Part> parts);

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const Asked> asked_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  ReasoningSplitter splitter_;
  ToolCallSplitter tools_;
  std::deque<std::string> lately_;  // texts of the reasoning's last tokens
  int64_t reasoning_tokens_ = 0;
};

}  // namespace mlxk
