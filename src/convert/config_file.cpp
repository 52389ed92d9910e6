#include "convert/config_file.h"

#include <map>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

void set_quantization(Json& config, const Json& quantization) {
  config.erase("quantization");
  config.erase("quantization_config");
  if (!quantization.is_object()) return;
  config["quantization"] = quantization;
  config["quantization_config"] = quantization;
}

void take_generation_eos(Json& config, const fs::path& folder) {
  const auto path = folder / "generation_config.json";
  std::error_code failed;
  if (!fs::exists(path, failed)) return;
  try {
    const auto generation = read_json(path);
    const auto eos = generation.find("eos_token_id");
    if (eos == generation.end() || eos->is_null() || *eos == 0 || (eos->is_array() && eos->empty())) return;
    config["eos_token_id"] = *eos;
  } catch (const std::exception&) {
    // config.json's own stays
  }
}

void write_config(const fs::path& folder, Json config) {
  config.erase("_name_or_path");
  std::map<std::string, Json> sorted;
  for (auto& [key, value] : config.items()) sorted[key] = value;
  Json result = Json::object();
  for (auto& [key, value] : sorted) result[key] = std::move(value);
  write_file_atomic(folder / "config.json", dump_json(result, 4));
}

}  // namespace mlxk
