#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "hub/content_hash.h"
#include "json/json.h"
#include "probe/model_info.h"

namespace mlxk {

/// A model with the facts of `list` and `show` beyond those of Probe.
struct ModelEntry {
  ModelInfo info;
  std::time_t modified = 0;      // of the folder
  std::optional<Json> sentinel;  // of a managed workspace
  Cleanliness clean = Cleanliness::unknown;

  /// "sha256:…" of the sentinel; empty: none.
  std::string content_hash() const;
};

/// Probes `ref` and reads its sentinel. Throws io.
ModelEntry describe_model(const ModelRef& ref);

/// The JSON API's model object, as in `list`.
Json model_object(const ModelEntry& entry);

/// The model object with "quantization", as in `show`.
Json show_object(const ModelEntry& entry, const Json& config);

/// {"text","vision","audio","embedding"}, each {"runs","reason"}: which modalities this build can run, and why not.
Json runtime_data(const ModelInfo& info);

/// The model's config.json; null if there is none or it is unreadable.
Json read_config_of(const ModelRef& ref);

/// The configuration values of `show`; unknown ones are null.
Json config_metadata(const ModelInfo& info, const Json& config);

/// [{"name","size","type"}] of the model's files, by path; type is config, weights, tokenizer, readme or other.
Json file_list(const ModelRef& ref);

/// {"healthy":[…],"unhealthy":[…],"summary":{…}}, each entry {"name","status","reason"}.
Json health_data(const std::vector<ModelInfo>& models);

/// Bytes in decimal units: "512B", "4.6GB".
std::string human_size(uint64_t bytes);

}  // namespace mlxk
