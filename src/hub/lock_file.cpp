#include "hub/lock_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "hub/repo_id.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr int kVersion = 1;

[[noreturn]] void refuse(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::invalid, fmt::format("{}: {}", path.string(), what));
}

LockedModel read_model(const Json& entry, const fs::path& path, size_t number) {
  LockedModel model{string_at(entry, "name"), string_at(entry, "revision"), {}};
  check_repo_name(model.name);
  if (!is_commit_hash(model.revision)) refuse(path, fmt::format("models[{}] has no commit", number));
  const auto files = entry.find("files");
  if (files == entry.end() || !files->is_array()) refuse(path, fmt::format("models[{}] has no files", number));
  for (const Json& item : *files) {
    HubFile file{.path = string_at(item, "path"), .sha256 = string_at(item, "sha256")};
    const auto size = item.is_object() ? item.find("size") : item.end();
    if (file.path.empty() || file.sha256.size() != 64 || !is_hex(file.sha256) || size == item.end() ||
        !size->is_number_unsigned()) {
      refuse(path, fmt::format("models[{}] has a file without path, size or SHA-256", number));
    }
    file.size = size->get<uint64_t>();
    model.files.push_back(std::move(file));
  }
  return model;
}

}  // namespace

std::vector<LockedModel> read_lock_file(const fs::path& path) {
  const Json document = parse_json(read_file(path), path.string());
  const auto models = document.is_object() ? document.find("models") : document.end();
  if (!document.is_object() || document.value("lock_version", Json()) != kVersion || models == document.end() ||
      !models->is_array()) {
    refuse(path, fmt::format("not a lock file of version {}", kVersion));
  }
  std::vector<LockedModel> locked;
  for (const Json& entry : *models) locked.push_back(read_model(entry, path, locked.size()));
  return locked;
}

void write_lock_file(const fs::path& path, const LockedModel& model) {
  std::vector<LockedModel> models;
  if (fs::exists(path)) models = read_lock_file(path);
  const auto same =
      std::find_if(models.begin(), models.end(), [&](const auto& other) { return other.name == model.name; });
  if (same == models.end()) {
    models.push_back(model);
  } else {
    *same = model;
  }
  std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  Json entries = Json::array();
  for (const auto& entry : models) {
    Json files = Json::array();
    for (const auto& file : entry.files)
      files.push_back({{"path", file.path}, {"size", file.size}, {"sha256", file.sha256}});
    entries.push_back({{"name", entry.name}, {"revision", entry.revision}, {"files", files}});
  }
  write_file_atomic(path, Json{{"lock_version", kVersion}, {"models", entries}}.dump(2) + "\n");
}

}  // namespace mlxk
