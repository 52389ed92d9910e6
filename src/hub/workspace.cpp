#include "hub/workspace.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "hub/environment.h"
#include "json/json.h"

namespace mlxk {

std::optional<fs::path> workspace_home() {
  const auto home = environment_path("MLXK_WORKSPACE_HOME");
  std::error_code error;
  if (!home || !fs::is_directory(*home, error)) return std::nullopt;
  return fs::absolute(*home).lexically_normal();
}

bool is_workspace(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / "config.json", error);
}

std::vector<fs::path> workspaces_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!is_side_file(it->path().filename().string()) && is_workspace(it->path())) found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<Json> read_sentinel(const fs::path& workspace) {
  const fs::path path = workspace / kSentinelName;
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  try {
    Json sentinel = read_json(path);
    if (!sentinel.is_object() || sentinel.value("managed", Json()) != true) return std::nullopt;
    return sentinel;
  } catch (const Error&) {
    return std::nullopt;  // a broken sentinel makes an unmanaged workspace, not an unusable one
  }
}

void write_sentinel(const fs::path& workspace, const Json& sentinel) {
  write_file_atomic(workspace / kSentinelName, sentinel.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace mlxk
