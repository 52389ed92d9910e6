#include "hub/resolve.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "hub/cache.h"
#include "hub/workspace.h"

namespace mlxk {

namespace {

constexpr size_t kMaxSpecBytes = 4096;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

[[noreturn]] void not_found(std::string_view spec, std::string hint = {}) {
  throw Error(ErrorKind::not_found, fmt::format("No model found matching '{}'", spec), std::move(hint));
}

[[noreturn]] void ambiguous(std::string_view spec, const std::vector<std::string>& matches) {
  throw Error(ErrorKind::ambiguous, fmt::format("Multiple models match '{}'", spec),
              fmt::format("{}", fmt::join(matches, "\n")));
}

/// Refuses a spec, which may come from a client, that cannot be a model's name, before it reaches the file system.
void check_spec(std::string_view spec) {
  const auto refuse = [](std::string_view what) {
    throw Error(ErrorKind::invalid, fmt::format("Invalid model name: {}", what));
  };
  if (spec.empty()) refuse("empty");
  if (spec.size() > kMaxSpecBytes)
    refuse(fmt::format("{} bytes long, at most {} are possible", spec.size(), kMaxSpecBytes));
  for (const char c : spec) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      refuse(fmt::format("holds the control character 0x{:02x}", c));
  }
  if (spec.front() == '-') refuse(fmt::format("'{}' starts with a dash", spec));
  if (is_path_spec(spec)) return;
  for (const auto& part : fs::path(spec)) {
    if (part == "." || part == "..") refuse(fmt::format("'{}' holds '{}'", spec, part.string()));
  }
}

ModelRef workspace_ref(const fs::path& folder, std::string display_name = {}) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  // "x/." and "x/" normalise to a path that ends with a separator.
  const fs::path clean = path.has_filename() || path == path.root_path() ? path : path.parent_path();
  return {clean.string(), clean, "", false, std::move(display_name)};
}

ModelRef snapshot_ref(const CachedRepo& repo, const std::string& snapshot) {
  return {repo.name, repo.path / "snapshots" / snapshot, snapshot, true};
}

ModelRef cached_ref(const CachedRepo& repo) {
  if (const auto snapshot = default_snapshot(repo)) return snapshot_ref(repo, *snapshot);
  return {repo.name, repo.path, "", true};  // nothing downloaded yet: health reports that
}

/// The repositories that `name` can mean: the one with that name (or in mlx-community), else all that contain it.
std::vector<CachedRepo> match_repos(const std::vector<CachedRepo>& repos, std::string_view name) {
  const auto exact = [&](const std::string& wanted) {
    return std::find_if(repos.begin(), repos.end(), [&](const CachedRepo& repo) { return repo.name == wanted; });
  };
  if (name.find('/') == name.npos) {
    if (const auto it = exact("mlx-community/" + std::string(name)); it != repos.end()) return {*it};
  }
  if (const auto it = exact(std::string(name)); it != repos.end()) return {*it};
  std::vector<CachedRepo> matches;
  std::copy_if(repos.begin(), repos.end(), std::back_inserter(matches),
               [&](const CachedRepo& repo) { return holds_name(repo.name, name); });
  return matches;
}

std::vector<std::string> names_of(const std::vector<CachedRepo>& repos) {
  std::vector<std::string> names;
  for (const auto& repo : repos) names.push_back(repo.name);
  return names;
}

ModelRef resolve_path(std::string_view spec) {
  const fs::path folder(spec);
  if (is_workspace(folder)) return workspace_ref(folder);
  std::error_code error;
  if (!fs::is_directory(folder, error)) not_found(spec, "there is no such folder");
  not_found(spec, "the folder has no config.json");
}

ModelRef resolve_revision(std::string_view spec, const std::vector<CachedRepo>& repos) {
  const size_t at = spec.rfind('@');
  const std::string_view name = spec.substr(0, at), revision = spec.substr(at + 1);
  if (name.empty() || revision.empty()) {
    throw Error(ErrorKind::invalid,
                fmt::format("Invalid model name: '{}' lacks a {}", spec, name.empty() ? "name" : "revision"));
  }
  const std::vector<CachedRepo> candidates = match_repos(repos, name);
  std::vector<ModelRef> found;
  std::vector<std::string> labels;
  for (const auto& repo : candidates) {
    for (const auto& snapshot : find_snapshots(repo, revision)) {
      found.push_back(snapshot_ref(repo, snapshot));
      labels.push_back(fmt::format("{}@{}", repo.name, snapshot));
    }
  }
  if (found.size() == 1) return found.front();
  if (found.size() > 1) ambiguous(spec, labels);
  if (candidates.size() != 1) not_found(spec);
  std::vector<std::string> available = snapshots(candidates.front());
  for (auto& hash : available) hash.resize(std::min<size_t>(hash.size(), 8));
  throw Error(ErrorKind::no_revision,
              fmt::format("Hash '{}' not found for model '{}'", revision, candidates.front().name),
              fmt::format("{}", fmt::join(available, "\n")));
}

}  // namespace

bool holds_name(std::string_view name, std::string_view part) {
  return lower(name).find(lower(part)) != std::string::npos;
}

bool is_path_spec(std::string_view spec) {
  return spec == "." || spec == ".." || spec.starts_with("/") || spec.starts_with("./") || spec.starts_with("../");
}

ModelRef resolve_model(std::string_view spec) {
  check_spec(spec);
  if (is_path_spec(spec)) return resolve_path(spec);

  // An exact name anywhere precedes a part of a name; then workspaces precede the cache.
  const auto home = workspace_home();
  if (home && is_workspace(*home / spec)) return workspace_ref(*home / spec);
  const std::vector<CachedRepo> repos = cached_repos(hub_cache_dir());
  if (spec.find('@') != spec.npos) return resolve_revision(spec, repos);
  const std::vector<CachedRepo> matches = match_repos(repos, spec);
  const bool exact =
      matches.size() == 1 && (matches[0].name == spec || matches[0].name == "mlx-community/" + std::string(spec));
  if (exact) return cached_ref(matches.front());
  if (home) {
    std::vector<std::string> names;
    for (const auto& folder : workspaces_in(*home)) {
      if (holds_name(folder.filename().string(), spec)) names.push_back(folder.filename().string());
    }
    if (names.size() == 1) return workspace_ref(*home / names.front());
    if (names.size() > 1) ambiguous(spec, names);
  }
  if (matches.size() > 1) ambiguous(spec, names_of(matches));
  if (matches.empty()) not_found(spec);
  return cached_ref(matches.front());
}

std::vector<ModelRef> list_models() { return list_models(""); }

std::vector<ModelRef> list_models(std::string_view pattern) {
  std::vector<ModelRef> models;
  if (!pattern.empty()) check_spec(pattern);
  if (is_path_spec(pattern)) {
    const fs::path path(pattern);
    std::error_code error;
    // For a relative pattern the folder's own name, as MLX Knife shows it.
    const auto listed = [&](const fs::path& workspace) {
      ModelRef ref = workspace_ref(workspace);
      ref.display_name = path.is_absolute() ? ref.name : ref.path.filename().string();
      return ref;
    };
    if (is_workspace(path)) return {listed(path)};
    const bool folder = fs::is_directory(path, error);
    const std::string prefix = folder ? "" : path.filename().string();
    for (const auto& child : workspaces_in(folder ? path : path.parent_path())) {
      if (child.filename().string().starts_with(prefix)) models.push_back(listed(child));
    }
    return models;
  }
  if (const auto home = workspace_home()) {
    for (const auto& folder : workspaces_in(*home)) {
      const std::string name = folder.filename().string();
      if (holds_name(name, pattern)) models.push_back(workspace_ref(folder, name));
    }
  }
  for (const auto& repo : cached_repos(hub_cache_dir())) {
    if (holds_name(repo.name, pattern)) models.push_back(cached_ref(repo));
  }
  std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return models;
}

}  // namespace mlxk
