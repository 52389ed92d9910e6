#pragma once

#include <filesystem>

#include "json/json.h"

namespace mlxk {

/// The report of `push --check-only` on a folder in the format of the JSON API: files_count, total_bytes, config,
/// weights, anomalies, healthy. Reads names, sizes and configuration, without contacting the hub. Throws io.
Json workspace_health(const std::filesystem::path& folder);

}  // namespace mlxk
