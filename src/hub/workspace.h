#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

inline constexpr std::string_view kSentinelName = ".mlxk_workspace.json";

/// The folder of workspaces: MLXK_WORKSPACE_HOME with "~" expanded; none if that is unset or not a folder.
std::optional<std::filesystem::path> workspace_home();

/// Whether `folder` is a workspace: any folder with a config.json.
bool is_workspace(const std::filesystem::path& folder);

/// The workspaces directly in `folder`, sorted; empty when it cannot be read.
std::vector<std::filesystem::path> workspaces_in(const std::filesystem::path& folder);

/// The sentinel of a managed workspace, with unknown fields; none if absent, broken or not managed.
std::optional<Json> read_sentinel(const std::filesystem::path& workspace);

/// Replaces the sentinel atomically; throws io.
void write_sentinel(const std::filesystem::path& workspace, const Json& sentinel);

}  // namespace mlxk
