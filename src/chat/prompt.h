#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "audio/processor.h"
#include "json/json_fwd.h"
#include "tokenizer/tokenizer.h"
#include "vision/processor.h"
#include "worker/media.h"

namespace mlxk {

class ChatTemplate;
struct RenderOptions;

/// A prompt, as text and as ids.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<MediaItem> media = {};
  std::vector<TokenRange> attend_both_ways = {};
};

/// The images of a conversation, in order, for its model.
struct PromptImages {
  const ImageProcessor& processor;
  std::vector<ProcessedImage> images;
};

/// The recordings of a conversation, in order, for its model.
struct PromptAudio {
  const AudioProcessor& processor;
  std::vector<ProcessedAudio> recordings;
};

/// The conversation as plain blocks `System: …`, `Human: …`, `Assistant: ` for models without a template.
std::string plain_conversation(const Json& messages);

/// Renders `messages` ([{role, content}, …], not empty) with the template, or as plain blocks if there is none. Special
/// tokens that users and tools wrote are text in the ids: they end no turn. `images` (may be null) belong to the parts
/// {"type": "image"}, `audio` (may be null) to those of type "audio". Throws invalid with the template's message, or if
/// the prompt does not have as many image or audio tokens as the media need; TextTooLong once there are more than
/// `max_tokens`. Calls check_stop().
Prompt chat_prompt(const Json& messages, const ChatTemplate* chat_template, const RenderOptions& options,
                   const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit,
                   const PromptImages* images = nullptr, const PromptAudio* audio = nullptr);

/// The prompt for a transcript of the one recording of `audio` in the model's own form; nullopt: it has none. Special
/// tokens in the request's context are text. Throws as chat_prompt.
std::optional<Prompt> transcript_prompt(const PromptAudio& audio, const TranscriptRequest& request,
                                        const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit);

/// `text` unchanged, with the special tokens that the tokenizer adds (its beginning only once). Throws TextTooLong once
/// there are more than `max_tokens`. Calls check_stop().
Prompt raw_prompt(std::string text, const Tokenizer& tokenizer, size_t max_tokens = Tokenizer::kNoLimit);

/// Whether `text` is UTF-8 without NUL; otherwise `where` is set to the offset of the first bad byte.
bool is_clean_text(std::string_view text, size_t& where);

}  // namespace mlxk
