#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/tools.h"
#include "worker/event.h"

namespace mlxk {

/// A token with its log-probabilities and the offset of its text.
struct ScoredToken {
  TokenEvent event;
  int64_t text_offset = 0;  // characters of the choice's text before it
  bool scored = true;       // false: the first token of a prompt, which has no log-probability
};

/// The part that a step adds to a choice.
struct AnswerDelta {
  std::string content, reasoning;
  std::vector<ToolCallDelta> tool_calls;
  std::vector<ScoredToken> scores;  // if requested

  bool empty() const { return content.empty() && reasoning.empty() && tool_calls.empty() && scores.empty(); }
};

/// Exact counts over all choices; each prompt counts once.
struct AnswerUsage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  int64_t image_tokens = 0, cached_images = 0;  // set if there are images
  int64_t audio_tokens = 0;                     // set if there are recordings
};

/// How a choice ended, unless the client left or the server ended.
enum class AnswerFinish { stop, length, tool_calls };

}  // namespace mlxk
