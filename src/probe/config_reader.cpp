#include "probe/config_reader.h"

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"

namespace mlxk {

namespace {
constexpr uint64_t kMaxBytes = uint64_t{16} << 20;
}

Json read_json_object(const ModelFiles& files, std::string_view name) {
  if (!files.has(name)) return nullptr;
  try {
    const fs::path path = files.folder() / name;
    Json parsed = parse_json(read_file(path, kMaxBytes), path.string());
    return parsed.is_object() ? parsed : Json(nullptr);
  } catch (const Error&) {
    return nullptr;
  }
}

bool has_object(const Json& object, std::string_view key) {
  const Json& value = value_at(object, key);
  return value.is_object() && !value.empty();
}

std::string model_type_of(const Json& config) {
  const std::string type = string_at(config, "model_type"), target = string_at(config, "target");
  if (!type.empty() || !has_object(config, "encoder")) return type;
  // canary-mlx leaves the target out.
  if (has_object(config, "transf_decoder")) return "canary";
  return target.starts_with("nemo.collections.asr.models.") ? "parakeet" : type;
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace mlxk
