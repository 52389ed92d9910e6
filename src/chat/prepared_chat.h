#pragma once

#include <string>
#include <vector>

#include "chat/prompt.h"
#include "chat/reasoning.h"

namespace mlxk {

/// A conversation in the form that a model reads, and how to read its answer.
struct PreparedChat {
  Prompt prompt;
  ReasoningFormat reasoning;
  std::vector<std::string> stops;  // strings that end the answer, in addition to the request's own
};

/// Like chat_prompt. Without a template the answer also ends where the next speaker would begin.
PreparedChat prepare_chat(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                          const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit,
                          const PromptImages* images = nullptr, const PromptAudio* audio = nullptr);

}  // namespace mlxk
