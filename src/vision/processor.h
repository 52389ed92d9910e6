#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "media/image.h"
#include "worker/media.h"

namespace mlxk {

/// An image in the form that a model reads.
struct ProcessedImage {
  std::shared_ptr<const MediaData> data;
  std::string text;  // replaces the placeholder in the prompt: image tokens, separators, rows of tiles
  int tokens = 0;    // image tokens in `text`
};

/// The preprocessing of a family of vision models, as described in its preprocessor_config.json. Immutable, any thread.
class ImageProcessor {
 public:
  virtual ~ImageProcessor() = default;
  /// Throws invalid for an image that the family cannot process (too narrow, …).
  virtual ProcessedImage process(const Image& image) const = 0;
  /// The text that the chat template renders for image `index`, counted from 0 in a prompt.
  virtual std::string placeholder(int index) const = 0;
  /// The token, as text, that an image's features replace.
  virtual std::string image_token() const = 0;
  /// The prompt for a model without a chat template: `text` of the last user message with a placeholder for each image.
  virtual std::string plain_prompt(const std::string& text, int images) const {
    std::string prompt;
    for (int i = 0; i < images; ++i) prompt += placeholder(i);
    return prompt + text;
  }
  /// `prompt` in the form that the model expects, after its placeholders were replaced.
  virtual std::string finished(std::string prompt) const { return prompt; }
  /// Which tokens of a prompt see each other in addition to causal attention.
  enum class Attention { causal, image_blocks, whole_prompt };
  virtual Attention attention() const { return Attention::causal; }
};

/// The processor of the vision model in `dir`: config.json, preprocessor_config.json or processor_config.json. Throws
/// unsupported for a model_type that is not built in, bad_model naming file and key.
std::unique_ptr<ImageProcessor> open_image_processor(const std::filesystem::path& dir);

}  // namespace mlxk
