#pragma once

#include <string>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

/// Checks that the values of config.json, with nested text_config, vision_config, audio_config and quantisation blocks,
/// are in sane ranges, before anything is sized by them; absent keys pass. Throws bad_model naming the key's path and
/// value, and unsupported if the model needs Python code of its own (`model_file`) or is packed by another tool
/// (`quant_method`).
void check_config(const Json& config);

/// Settings of the configuration that are ignored, e.g. the Python code of `auto_map`; for diagnostics.
std::vector<std::string> config_notes(const Json& config);

}  // namespace mlxk
