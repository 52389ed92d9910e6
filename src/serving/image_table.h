#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "media/image.h"

namespace mlxk {

/// A row of a table of images.
struct ImageRow {
  int64_t number;        // the image's id within its conversation, or its place in the command line
  std::string hash;      // image_hash of its file
  std::string original;  // its file's name
  ImageMetadata metadata;
};

/// The line that marks a table of images in an answer.
constexpr const char* kImageTableMark = "<!-- mlxk:filenames -->";

/// The first 8 hexadecimal digits of an image file's SHA-256.
std::string image_hash(const std::string& bytes);

/// "59.2856°N, 18.1496°E"
std::string coordinates(const GeoPosition& at);

/// A Markdown table of images, as it stands before their answer; `with_exif` adds their names, places, dates and
/// cameras.
std::string image_table(const std::string& summary, const std::vector<ImageRow>& rows, bool with_exif);

/// "Image Metadata (2 images)"
std::string image_summary(size_t count);

}  // namespace mlxk
