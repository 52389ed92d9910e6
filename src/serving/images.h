#pragma once

#include <string>
#include <vector>

#include "chat/prompt.h"
#include "media/image.h"

namespace mlxk {

/// An image file in memory.
struct ImageFile {
  std::string bytes;
  std::string place;  // its name in errors: a path, a field
};

/// Decodes and processes `files` for a model; errors name the file's place. `metadata` (may be null) receives each
/// file's EXIF data. Calls check_stop().
PromptImages process_images(const ImageProcessor& processor, const std::vector<ImageFile>& files,
                            std::vector<ImageMetadata>* metadata = nullptr);

}  // namespace mlxk
