#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/tools.h"
#include "worker/request.h"

namespace mlxk {

/// A token with its log-probabilities, and where its text begins.
struct ScoredToken {
  TokenEvent event;
  int64_t text_offset = 0;  // characters of the choice's text before it
  bool scored = true;       // false: the first token of a prompt, which nothing foretells
};

/// What one step adds to a choice.
struct AnswerDelta {
  std::string content, reasoning;
  std::vector<ToolCallDelta> tool_calls;
  std::vector<ScoredToken> scores;  // only when they were asked for

  bool empty() const { return content.empty() && reasoning.empty() && tool_calls.empty() && scores.empty(); }
};

/// Exact counts over all choices; each prompt counts once.
struct AnswerUsage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
};

/// How a choice ended, other than by a client that left or a server that ends.
enum class AnswerFinish { stop, length, tool_calls };

}  // namespace mlxk
