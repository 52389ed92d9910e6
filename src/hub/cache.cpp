#include "hub/cache.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"

namespace mlxk {

namespace {

constexpr std::string_view kPrefix = "models--";
constexpr std::string_view kHiddenMark = "TEST-CACHE-SENTINEL";

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// Whether `path` leads to something in the repository or in the cache.
bool stays_inside(const fs::path& path, const CachedRepo& repo) {
  std::error_code error;
  const fs::path home = fs::canonical(repo.path, error);
  const fs::path cache = error ? fs::path{} : fs::canonical(repo.path.parent_path(), error);
  const fs::path real = error ? fs::path{} : fs::canonical(path, error);
  return !error && (is_within(real, home) || is_within(real, cache));
}

/// A name that is one component of a path: no way up, no way down.
bool is_component(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos && name.find('\0') == name.npos;
}

/// A branch's or tag's name below refs/: components as above.
bool is_ref_name(std::string_view name) {
  for (;;) {
    const size_t slash = name.find('/');
    if (!is_component(name.substr(0, slash))) return false;
    if (slash == name.npos) return true;
    name.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string read_ref(const CachedRepo& repo, std::string_view name) {
  if (!is_ref_name(name)) return {};
  try {
    std::string hash = read_file(repo.path / "refs" / name, 1024);
    while (!hash.empty() && static_cast<unsigned char>(hash.back()) <= ' ') hash.pop_back();
    return is_component(hash) ? hash : std::string{};
  } catch (const Error&) {
    return {};  // absent or unreadable: not a ref
  }
}

bool is_within(const fs::path& path, const fs::path& folder) {
  return !folder.empty() && std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

std::string repo_folder(std::string_view name) {
  return std::string(kPrefix) + replace_all(std::string(name), "/", "--");
}

std::string repo_name(std::string_view folder) {
  if (folder.substr(0, kPrefix.size()) != kPrefix) return {};
  return replace_all(std::string(folder.substr(kPrefix.size())), "--", "/");
}

std::vector<CachedRepo> cached_repos(const fs::path& cache) {
  std::vector<CachedRepo> repos;
  std::error_code error;
  for (fs::directory_iterator it(cache, error), end; !error && it != end; it.increment(error)) {
    const std::string folder = it->path().filename().string();
    std::string name = repo_name(folder);
    std::error_code ignored;
    if (name.empty() || is_side_file(folder) || folder.find(kHiddenMark) != folder.npos || !it->is_directory(ignored))
      continue;
    repos.push_back({std::move(name), it->path()});
  }
  std::sort(repos.begin(), repos.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return repos;
}

std::vector<std::string> snapshots(const CachedRepo& repo) {
  std::error_code error;
  const fs::path folder = repo.path / "snapshots";
  const auto is_plain = [](const fs::path& path) {
    std::error_code ignored;
    return fs::is_directory(fs::symlink_status(path, ignored));
  };
  const bool linked = !is_plain(repo.path) || !is_plain(folder);
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code entry_error;
    if (is_side_file(it->path().filename().string())) continue;
    // Following the links of a thousand models would take longer than everything else in `list`.
    if (linked || it->is_symlink(entry_error)) {
      if (!stays_inside(it->path(), repo)) continue;
    }
    if (!it->is_directory(entry_error) || entry_error) continue;
    const auto time = it->last_write_time(entry_error);
    if (!entry_error) found.emplace_back(time, it->path().filename().string());
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> names;
  for (auto& [time, name] : found) names.push_back(std::move(name));
  return names;
}

std::optional<std::string> default_snapshot(const CachedRepo& repo) {
  const std::vector<std::string> all = snapshots(repo);
  if (all.empty()) return std::nullopt;
  const std::string main = read_ref(repo, "main");
  return std::find(all.begin(), all.end(), main) != all.end() ? main : all.front();
}

std::vector<std::string> find_snapshots(const CachedRepo& repo, std::string_view revision) {
  const std::vector<std::string> all = snapshots(repo);
  const auto has = [&](std::string_view name) { return std::find(all.begin(), all.end(), name) != all.end(); };
  if (const std::string hash = read_ref(repo, revision); has(hash)) return {hash};
  if (has(revision)) return {std::string(revision)};
  std::vector<std::string> matches;
  std::copy_if(all.begin(), all.end(), std::back_inserter(matches),
               [&](const std::string& name) { return name.substr(0, revision.size()) == revision; });
  return matches;
}

}  // namespace mlxk
