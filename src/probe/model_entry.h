#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "hub/content_hash.h"
#include "json/json.h"
#include "probe/model_info.h"

namespace mlxk {

/// A model with what `list` and `show` tell beyond what Probe finds.
struct ModelEntry {
  ModelInfo info;
  std::time_t modified = 0;      // of its folder
  std::optional<Json> sentinel;  // of a managed workspace
  Cleanliness clean = Cleanliness::unknown;

  /// "sha256:…" of the sentinel; empty: none.
  std::string content_hash() const;
};

/// Probes `ref` and looks at its sentinel. Throws io.
ModelEntry describe_model(const ModelRef& ref);

/// The JSON API's model object, as `list` has it.
Json model_object(const ModelEntry& entry);

/// The same with "quantization", as `show` has it.
Json show_object(const ModelEntry& entry, const Json& config);

/// {"text","vision","audio","embedding"}, each {"runs","reason"}: what this build does with the model, and why not.
Json runtime_data(const ModelInfo& info);

/// The model's config.json, or null when there is none to read.
Json read_config_of(const ModelRef& ref);

/// What `show` says of a configuration by default; unknown values are null.
Json config_metadata(const ModelInfo& info, const Json& config);

/// [{"name","size","type"}] of the model's files, by path; type is config, weights, tokenizer, readme or other.
Json file_list(const ModelRef& ref);

/// {"healthy":[…],"unhealthy":[…],"summary":{…}}, each entry {"name","status","reason"}.
Json health_data(const std::vector<ModelInfo>& models);

/// Bytes in decimal units: "512B", "4.6GB".
std::string human_size(uint64_t bytes);

}  // namespace mlxk
