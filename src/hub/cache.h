#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// One repository folder of the Hugging Face cache: models--<org>--<name>.
struct CachedRepo {
  std::string name;            // "org/name"
  std::filesystem::path path;  // the repository's folder
};

/// Whether `path` is `folder` or inside it; both canonical, or both normal and absolute.
bool is_within(const std::filesystem::path& path, const std::filesystem::path& folder);

/// "org/name" → "models--org--name": mechanical, every "/" becomes "--".
std::string repo_folder(std::string_view name);

/// "models--org--name" → "org/name"; empty if `folder` is not a model's. Malformed folders give odd names, never
/// errors.
std::string repo_name(std::string_view folder);

/// Every model repository in `cache`, sorted by name; empty when there is no cache.
std::vector<CachedRepo> cached_repos(const std::filesystem::path& cache);

/// Names of the usable snapshot folders of `repo`, newest first. A link that leaves the repository and the cache is
/// skipped.
std::vector<std::string> snapshots(const CachedRepo& repo);

/// The default snapshot: the one of refs/main, else the newest.
std::optional<std::string> default_snapshot(const CachedRepo& repo);

/// The snapshot that refs/<name> points at; empty if there is no such ref or it is not a plain name.
std::string read_ref(const CachedRepo& repo, std::string_view name);

/// The snapshots that `revision` can mean: that of a branch or tag (refs/<revision>), the one of that name, or those
/// whose name starts with it.
std::vector<std::string> find_snapshots(const CachedRepo& repo, std::string_view revision);

}  // namespace mlxk
