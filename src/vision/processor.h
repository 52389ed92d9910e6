#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "media/image.h"
#include "worker/media.h"

namespace mlxk {

/// An image as a model takes it.
struct ProcessedImage {
  std::shared_ptr<const MediaData> data;
  std::string text;  // what replaces the placeholder in the prompt: image tokens, separators, rows of tiles
  int tokens = 0;    // image tokens in `text`
};

/// The preprocessing of a family of vision models, as its preprocessor_config.json has it. Immutable, any thread.
class ImageProcessor {
 public:
  virtual ~ImageProcessor() = default;
  /// Throws invalid for an image that the family cannot take (too narrow, …).
  virtual ProcessedImage process(const Image& image) const = 0;
  /// The text that the chat template renders for image `index`, counted from 0 in a prompt.
  virtual std::string placeholder(int index) const = 0;
  /// The token, as text, that an image's features take the place of.
  virtual std::string image_token() const = 0;
  /// The prompt of a model without a chat template: `text` of the last user message with a placeholder for each image.
  virtual std::string plain_prompt(const std::string& text, int images) const {
    std::string prompt;
    for (int i = 0; i < images; ++i) prompt += placeholder(i);
    return prompt + text;
  }
  /// `prompt` after its placeholders were replaced, as the model wants it.
  virtual std::string finished(std::string prompt) const { return prompt; }
  /// Which tokens of a prompt see each other beside what is causal.
  enum class Attention { causal, image_blocks, whole_prompt };
  virtual Attention attention() const { return Attention::causal; }
};

/// The processor of the vision model in `dir`: config.json, preprocessor_config.json or processor_config.json. Throws
/// unsupported for a model_type that is not built in, bad_model naming file and key.
std::unique_ptr<ImageProcessor> open_image_processor(const std::filesystem::path& dir);

}  // namespace mlxk
