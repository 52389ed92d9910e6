#pragma once

#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// Holds config.json to sane ranges before anything is sized by it; throws bad_model naming the key's path and value,
/// and unsupported when the model needs Python code of its own (`model_file`) or is packed by another tool
/// (`quant_method`). Nested text_config, vision_config,
/// audio_config and quantisation blocks too. Absent keys are not asked for.
void check_config(const Json& config);

/// What the configuration asks for and is never done, e.g. the Python code of `auto_map`; for diagnostics.
std::vector<std::string> config_notes(const Json& config);

}  // namespace mlxk
