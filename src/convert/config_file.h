#pragma once

#include <filesystem>

#include "json/json.h"

namespace mlxk {

/// Sets `quantization` and its copy for the hub, quantization_config; null removes both.
void set_quantization(Json& config, const Json& quantization);

/// Replaces eos_token_id by that of generation_config.json in `folder`, which generation uses. A missing or broken file
/// changes nothing.
void take_generation_eos(Json& config, const std::filesystem::path& folder);

/// Writes config.json into `folder` in mlx-lm's format: keys sorted, indent 4, without the source's path; throws io.
void write_config(const std::filesystem::path& folder, Json config);

}  // namespace mlxk
