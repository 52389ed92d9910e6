#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json/json_fwd.h"
#include "tokenizer/tokenizer.h"
#include "vision/processor.h"
#include "worker/media.h"

namespace mlxk {

class ChatTemplate;
struct RenderOptions;

/// What a model is asked, as text and as ids.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<MediaItem> media = {};
  std::vector<TokenRange> attend_both_ways = {};
};

/// The images of a conversation, in order, as its model takes them.
struct PromptImages {
  const ImageProcessor& processor;
  std::vector<ProcessedImage> images;
};

/// The conversation as plain blocks `System: …`, `Human: …`, `Assistant: ` for models without a template.
std::string plain_conversation(const Json& messages);

/// `messages` ([{role, content}, …], not empty) through the template; through plain blocks when there is none. Special
/// tokens that users and tools wrote are text in the ids: they end no turn. `images` (may be null) are those of the
/// parts {"type": "image"}. Throws invalid with the template's message, or where the prompt has another number of image
/// tokens than the images need; TextTooLong once there are more than `max_tokens`. Asks check_stop().
Prompt chat_prompt(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                   const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit,
                   const PromptImages* images = nullptr);

/// `text` as it stands, with the special tokens the tokenizer puts around a text (its beginning only once).
/// Throws TextTooLong once there are more than `max_tokens`. Asks check_stop().
Prompt raw_prompt(std::string text, const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit);

/// Whether `text` is UTF-8 without NUL; otherwise `where` receives the offset of the first bad byte.
bool is_clean_text(std::string_view text, size_t& where);

}  // namespace mlxk
