#pragma once

#include <string>
#include <vector>

#include "chat/prompt.h"

namespace mlxk {

/// The texts that represent images in a prompt; only the template and the processor may write them.
std::vector<std::string> image_texts(const ImageProcessor& processor);

/// Renders `messages` with the template and replaces each placeholder by its image's text. If the template writes no
/// placeholder for a part {"type": "image"}, the messages are rendered as text with the placeholders before it. Throws
/// invalid if the placeholders do not match the images.
std::string render_with_images(const Json& messages, const ChatTemplate& chat_template, const RenderOptions& options,
                               const PromptImages& images);

/// The prompt for a model without a template: the text of the last user message and the images.
std::string plain_image_prompt(const Json& messages, const PromptImages& images);

/// Sets the positions of the images in `prompt`, whose ids are set. Throws invalid if the ids do not have as many image
/// tokens as the images need.
void place_images(Prompt& prompt, const PromptImages& images, const Tokenizer& tokenizer);

/// `text` as the template rendered it, with each recording's text in place of its token. Throws invalid if the tokens
/// do not match the recordings.
std::string with_recordings(const std::string& text, const PromptAudio& audio);

/// Adds the positions of the recordings to `prompt`, whose ids are set; like place_images.
void place_recordings(Prompt& prompt, const PromptAudio& audio, const Tokenizer& tokenizer);

}  // namespace mlxk
