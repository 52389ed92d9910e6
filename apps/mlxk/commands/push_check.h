#pragma once

#include <filesystem>

#include "json/json.h"

namespace mlxk {

/// What `push --check-only` says of a folder, as the JSON API has it: files_count, total_bytes, config, weights,
/// anomalies, healthy. Reads names, sizes and configuration, without contacting the hub. Throws io.
Json workspace_health(const std::filesystem::path& folder);

}  // namespace mlxk
