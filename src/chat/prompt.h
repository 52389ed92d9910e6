#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// What a model is asked, as text and as ids.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

/// The conversation as plain blocks `System: …`, `Human: …`, `Assistant: ` for models without a template.
std::string plain_conversation(const Json& messages);

/// `messages` ([{role, content}, …], not empty) through the template; through plain blocks when there is none. Special
/// tokens that users and tools wrote are text in the ids: they end no turn. Throws invalid with the template's message,
/// TextTooLong once there are more than `max_tokens`. Asks check_stop().
Prompt chat_prompt(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                   const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit);

/// `text` as it stands, with the special tokens the tokenizer puts around a text (its beginning only once).
/// Throws TextTooLong once there are more than `max_tokens`. Asks check_stop().
Prompt raw_prompt(std::string text, const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit);

/// Whether `text` is UTF-8 without NUL; otherwise `where` receives the offset of the first bad byte.
bool is_clean_text(std::string_view text, size_t& where);

}  // namespace mlxk
