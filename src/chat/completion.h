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

/// Turns token ids into what a reader sees: characters, stop strings, reasoning, tool calls. One thread at a time.
class Completion {
 public:
  /// `stops` are the request's own; the tokenizer's are added. Without `calls`, or if `tools` are not active, calls are
  /// text.
  Completion(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stops, ReasoningFormat format,
             const ToolFormat* calls = nullptr, const ToolOptions& tools = {});
  /// A copy for another answer to the same prompt; it does not search the vocabulary.
  Completion again() const { return Completion(tokenizer_, asked_); }

  /// The parts that `id` completes; empty once stopped.
  std::vector<Part> push(int32_t id);
  /// The text held back when the ids end. Call it once.
  std::vector<Part> finish();
  /// Whether the rest of the output is not needed: a stop string was found, or the one call that was allowed is
  /// complete.
  bool stopped() const { return stops_.stopped() || tools_.complete(); }
  /// Tool calls begun so far: with at least one, the finish reason of an answer that stops is `tool_calls`.
  int tool_calls() const { return tools_.calls(); }
  /// Tokens so far that began in the reasoning: those between its markers, including whitespace.
  int64_t reasoning_tokens() const { return reasoning_tokens_; }

 private:
  /// The properties shared by all answers.
  struct Asked {
    ReasoningFormat format;
    const ToolFormat* calls;
    ToolOptions tools;
    std::vector<std::string> stops;    // the implicit ones too
    std::vector<std::string> markers;  // that do not end an answer: those of reasoning and calls
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
