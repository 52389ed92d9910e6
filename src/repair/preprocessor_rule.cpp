#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"
#include "repair/rules.h"

namespace mlxk {

namespace {

/// A value that the file needs: from config.json at `from` (two keys, "vision_config.patch_size"; or one), else as
/// published with the model.
struct Value {
  const char* key;
  const char* published;  // JSON
  const char* from;       // nullptr: only as published
};

struct Needs {
  std::string_view model_type;
  const char* file;
  std::vector<Value> values;
};

constexpr const char* kClipMean = "[0.48145466, 0.4578275, 0.40821073]";
constexpr const char* kClipStd = "[0.26862954, 0.26130258, 0.27577711]";
constexpr const char* kHalf = "[0.5, 0.5, 0.5]";
constexpr const char* kPreprocessor = "preprocessor_config.json";
constexpr const char* kProcessor = "processor_config.json";

std::vector<Value> qwen_values(const char* processor, const char* patch, const char* mean, const char* std) {
  return {{"image_processor_type", processor, nullptr},
          {"min_pixels", "3136", nullptr},
          {"max_pixels", "12845056", nullptr},
          {"patch_size", patch, "vision_config.patch_size"},
          {"temporal_patch_size", "2", "vision_config.temporal_patch_size"},
          {"merge_size", "2", "vision_config.spatial_merge_size"},
          {"image_mean", mean, nullptr},
          {"image_std", std, nullptr}};
}

const std::vector<Needs>& known_needs() {
  static const std::vector<Needs> needs = {
      {"gemma3",
       kPreprocessor,
       {{"image_processor_type", "\"Gemma3ImageProcessor\"", nullptr},
        {"image_mean", kHalf, nullptr},
        {"image_std", kHalf, nullptr},
        {"image_seq_length", "256", "mm_tokens_per_image"},
        {"size", R"({"height": 896, "width": 896})", nullptr}}},
      {"mistral3",
       kProcessor,
       {{"processor_class", "\"PixtralProcessor\"", nullptr},
        {"patch_size", "14", "vision_config.patch_size"},
        {"spatial_merge_size", "2", "spatial_merge_size"},
        {"image_token", "\"[IMG]\"", nullptr},
        {"image_break_token", "\"[IMG_BREAK]\"", nullptr},
        {"image_end_token", "\"[IMG_END]\"", nullptr}}},
      {"mistral3",
       kPreprocessor,
       {{"image_processor_type", "\"PixtralImageProcessor\"", nullptr},
        {"patch_size", "14", "vision_config.patch_size"},
        {"size", R"({"longest_edge": 1540})", nullptr},
        {"image_mean", kClipMean, nullptr},
        {"image_std", kClipStd, nullptr}}},
      {"pixtral",
       kPreprocessor,
       {{"image_processor_type", "\"PixtralImageProcessor\"", nullptr},
        {"patch_size", "16", "vision_config.patch_size"},
        {"size", R"({"longest_edge": 1024})", nullptr},
        {"image_mean", kClipMean, nullptr},
        {"image_std", kClipStd, nullptr}}},
      {"qwen2_vl", kPreprocessor, qwen_values("\"Qwen2VLImageProcessor\"", "14", kClipMean, kClipStd)},
      {"qwen2_5_vl", kPreprocessor, qwen_values("\"Qwen2VLImageProcessor\"", "14", kClipMean, kClipStd)},
      {"qwen3_vl", kPreprocessor, qwen_values("\"Qwen2VLImageProcessorFast\"", "16", kHalf, kHalf)}};
  return needs;
}

/// The value at `path` of `config`; null if it is not there.
Json value_at(const Json& config, std::string_view path) {
  const auto dot = path.find('.');
  const auto found = config.find(std::string(path.substr(0, dot)));
  if (found == config.end()) return nullptr;
  if (dot == path.npos) return *found;
  return found->is_object() ? value_at(*found, path.substr(dot + 1)) : Json();
}

bool is_missing(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null();
}

void repair_file(const fs::path& folder, const Json& config, const Needs& needs, std::vector<Finding>& findings) {
  const auto path = folder / needs.file;
  std::error_code failed;
  const bool exists = fs::exists(path, failed);
  Json json = exists ? read_json(path) : Json::object();
  if (!json.is_object()) throw Error(ErrorKind::bad_model, fmt::format("{} is not an object", path.string()));
  // Newer processors keep the image processor's values in a nested object.
  if (needs.file == std::string_view(kPreprocessor) && !exists && fs::exists(folder / kProcessor, failed)) {
    if (read_json(folder / kProcessor).contains("image_processor")) return;
  }
  std::vector<std::string> missing, set;
  for (const auto& value : needs.values) {
    if (!is_missing(json, value.key)) continue;
    const auto own = value.from ? value_at(config, value.from) : Json();
    json[value.key] = own.is_null() ? Json::parse(value.published) : own;
    missing.emplace_back(value.key);
    set.push_back(
        fmt::format("{} to {} ({})", value.key, json[value.key].dump(),
                    own.is_null() ? std::string("as published") : fmt::format("config.json: {}", value.from)));
  }
  if (missing.empty()) return;
  write_file_atomic(path, dump_json(json));
  findings.push_back({needs.file, exists ? fmt::format("without {}", fmt::join(missing, ", ")) : std::string("missing"),
                      fmt::format("set {}", fmt::join(set, "; "))});
}
}  // namespace

void repair_preprocessor(const fs::path& folder, std::vector<Finding>& findings) {
  const auto config = read_json(folder / "config.json");
  const auto type = config.is_object() ? config.find("model_type") : config.end();
  if (type == config.end() || !type->is_string() || is_missing(config, "vision_config")) return;
  for (const auto& needs : known_needs()) {
    if (needs.model_type == type->get_ref<const std::string&>()) repair_file(folder, config, needs, findings);
  }
}

}  // namespace mlxk
