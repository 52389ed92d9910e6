#pragma once

#include <array>
#include <filesystem>
#include <string>

#include "json/json.h"
#include "vision/resize.h"

namespace mlxk {

struct Size {
  int width = 0, height = 0;
};

/// One JSON object in a model's folder. Each value that a family reads is validated; a value that is absent or null
/// becomes `fallback`. Throws bad_model naming file and key.
class Settings {
 public:
  Settings(Json object, std::string file) : object_(std::move(object)), file_(std::move(file)) {}
  int whole(const char* key, int fallback, int least = 1, int most = 1 << 24) const;
  double real(const char* key, double fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  std::array<double, 3> color(const char* key, const std::array<double, 3>& fallback) const;
  Filter filter(Filter fallback) const;  // of "resample"
  /// `key` is a number, {height, width}, or a square given by {shortest_edge} or {longest_edge}.
  Size size(const char* key, Size fallback) const;
  /// A number in the object `key`, such as size.longest_edge; `key` itself may be the number.
  int whole_in(const char* key, const char* member, int fallback, int least = 1, int most = 1 << 28) const;
  bool has(const char* key) const;
  const Json& json(const char* key) const;  // null when absent
  Settings inner(const char* key) const;    // an object; empty if absent
  [[noreturn]] void fail(const std::string& key, const std::string& problem) const;

 private:
  Json object_;
  std::string file_;
};

/// The preprocessing files of a vision model's folder.
struct ProcessorFiles {
  explicit ProcessorFiles(const std::filesystem::path& dir);

  Settings config;     // config.json
  Settings vision;     // its vision_config
  Settings image;      // preprocessor_config.json, else processor_config.json's image_processor
  Settings processor;  // processor_config.json: settings for text and image together
};

constexpr std::array<double, 3> kClipMean{0.48145466, 0.4578275, 0.40821073};
constexpr std::array<double, 3> kClipStd{0.26862954, 0.26130258, 0.27577711};
constexpr std::array<double, 3> kImageNetMean{0.485, 0.456, 0.406};
constexpr std::array<double, 3> kImageNetStd{0.229, 0.224, 0.225};
constexpr std::array<double, 3> kHalf{0.5, 0.5, 0.5};

}  // namespace mlxk
