#pragma once

#include <filesystem>
#include <string>

namespace mlxk {

/// Where a server's clients may have images taken from, beside data URLs.
struct ImageSources {
  bool urls = false;                 // http and https, of the public internet
  std::filesystem::path media_root;  // file:// below this folder; empty: none
};

/// The bytes of the image at `url` (http, https or file) of the field `param`, `limit` at most. Throws ApiError 400
/// naming the field where it is not allowed, not there, too large or too slow.
std::string read_image_url(const ImageSources& sources, const std::string& url, const std::string& param, size_t limit);

}  // namespace mlxk
