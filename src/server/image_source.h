#pragma once

#include <filesystem>
#include <string>

namespace mlxk {

/// The sources of images that a server's clients may use, besides data URLs.
struct ImageSources {
  bool urls = false;                 // http and https, of the public internet
  std::filesystem::path media_root;  // file:// below this folder; empty: none
};

/// The bytes of the image at `url` (http, https or file) of the field `param`, at most `limit`. Throws ApiError 400
/// naming the field if it is not allowed, missing, too large or too slow.
std::string read_image_url(const ImageSources& sources, const std::string& url, const std::string& param, size_t limit);

}  // namespace mlxk
