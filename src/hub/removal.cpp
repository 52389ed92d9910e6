#include "hub/removal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "hub/locks.h"

namespace mlxk {

namespace {

constexpr std::string_view kLeftover = ".mlxk-removed-";

struct Count {
  uint64_t files = 0, bytes = 0;
};

Count count_below(const fs::path& path) {
  Count count;
  std::error_code error;
  for (fs::recursive_directory_iterator it(path, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (fs::is_directory(it->symlink_status(ignored))) {
      if (it.depth() + 1 >= kMaxNesting) it.disable_recursion_pending();
      continue;
    }
    ++count.files;
    if (!it->is_symlink(ignored) && it->is_regular_file(ignored)) count.bytes += it->file_size(ignored);
  }
  return count;
}

/// The folder of blobs of `repo`; none if it is a link to elsewhere, whose files must not be removed.
fs::path blob_folder(const CachedRepo& repo) {
  std::error_code error;
  const fs::path folder = repo.path / "blobs";
  return fs::symlink_status(folder, error).type() == fs::file_type::directory ? fs::canonical(folder, error)
                                                                              : fs::path{};
}

/// The names of the blobs that `snapshot` links to.
std::set<std::string> blobs_of(const CachedRepo& repo, const std::string& snapshot) {
  std::set<std::string> blobs;
  std::error_code error;
  const fs::path home = blob_folder(repo);
  for (fs::recursive_directory_iterator it(repo.path / "snapshots" / snapshot, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!it->is_symlink(ignored)) continue;
    const fs::path target = fs::weakly_canonical(it->path(), ignored);
    if (target.parent_path() == home) blobs.insert(target.filename().string());
  }
  return blobs;
}

/// Every entry of snapshots/, usable or not.
std::vector<std::string> snapshot_folders(const CachedRepo& repo) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(repo.path / "snapshots", error), end; !error && it != end; it.increment(error)) {
    if (!is_side_file(it->path().filename().string())) names.push_back(it->path().filename().string());
  }
  return names;
}

std::vector<fs::path> refs_to(const CachedRepo& repo, const std::string& snapshot) {
  std::vector<fs::path> refs;
  std::error_code error;
  for (fs::recursive_directory_iterator it(repo.path / "refs", error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!it->is_regular_file(ignored)) continue;
    const std::string name = it->path().lexically_relative(repo.path / "refs").generic_string();
    if (read_ref(repo, name) == snapshot) refs.push_back(it->path());
  }
  return refs;
}

[[noreturn]] void cannot_remove(const fs::path& path, const std::error_code& error) {
  const bool denied = error == std::errc::permission_denied || error == std::errc::operation_not_permitted ||
                      error == std::errc::read_only_file_system;
  throw Error(denied ? ErrorKind::denied : ErrorKind::io,
              fmt::format("cannot remove {}: {}", path.string(), error.message()));
}

void remove_below(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) cannot_remove(path, error);
}

/// Renames `path` to a hidden name in `folder`, then deletes it.
void vanish(const fs::path& path, const fs::path& folder) {
  fs::path hidden;
  for (int i = 0; hidden.empty() || fs::exists(fs::symlink_status(hidden)); ++i) {
    hidden = folder / fmt::format("{}{}-{}", kLeftover, getpid(), i);
  }
  std::error_code error;
  fs::rename(path, hidden, error);
  if (error) cannot_remove(path, error);
  remove_below(hidden);
}

bool is_partial(const fs::path& blob) { return blob.filename().string().find(".incomplete") != std::string::npos; }

}  // namespace

uint64_t bytes_below(const fs::path& path) { return count_below(path).bytes; }

RepoUsage usage_of(const CachedRepo& repo) {
  RepoUsage usage;
  usage.bytes = bytes_below(repo.path);
  std::set<std::string> linked;
  for (const auto& snapshot : snapshot_folders(repo)) linked.merge(blobs_of(repo, snapshot));
  std::error_code error;
  for (fs::directory_iterator it(blob_folder(repo), error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const std::string name = it->path().filename().string();
    if (it->is_symlink(ignored) || !it->is_regular_file(ignored) || linked.count(name) || is_side_file(name)) continue;
    const uint64_t size = it->file_size(ignored);
    (is_partial(it->path()) ? usage.partials : usage.orphans).push_back(it->path());
    (is_partial(it->path()) ? usage.partial_bytes : usage.orphan_bytes) += size;
  }
  std::sort(usage.orphans.begin(), usage.orphans.end());
  std::sort(usage.partials.begin(), usage.partials.end());
  return usage;
}

Removal plan_removal(const CachedRepo& repo, const std::string& snapshot) {
  Removal removal{.repo = repo};
  const auto all = snapshot_folders(repo);
  if (snapshot.empty() || all == std::vector{snapshot}) {
    const Count count = count_below(repo.path);
    removal.files = count.files;
    removal.bytes = count.bytes;
    return removal;
  }
  removal.snapshot = snapshot;
  removal.refs = refs_to(repo, snapshot);
  const Count count = count_below(repo.path / "snapshots" / snapshot);
  removal.files = count.files;
  removal.bytes = count.bytes;
  std::set<std::string> kept;
  for (const auto& other : all) {
    if (other != snapshot) kept.merge(blobs_of(repo, other));
  }
  for (const auto& blob : blobs_of(repo, snapshot)) {
    if (kept.count(blob)) continue;
    std::error_code error;
    const uint64_t size = fs::file_size(blob_folder(repo) / blob, error);
    if (error) continue;
    removal.blobs.push_back(blob_folder(repo) / blob);
    removal.bytes += size;
  }
  return removal;
}

size_t remove(const Removal& removal) {
  const fs::path& repo = removal.repo.path;
  for (const auto& leftover : leftovers(repo.parent_path())) remove_below(leftover);
  if (!removal.snapshot.empty()) {
    // First the refs, then the snapshot, then its own blobs: a process killed in between may leave blobs behind, but
    // never a named snapshot without its files.
    for (const auto& ref : removal.refs) {
      std::error_code error;
      fs::remove(ref, error);
      if (error) cannot_remove(ref, error);
    }
    vanish(repo / "snapshots" / removal.snapshot, repo);
    for (const auto& blob : removal.blobs) remove_below(blob);
    return 0;
  }
  // Held during the removal, so that no other process starts to download into it; --force ignores the locks of other
  // processes.
  const std::vector<fs::path> files = lock_files(repo);
  std::vector<FileLock> locks;
  for (const auto& file : files) locks.push_back(FileLock::try_lock(file));
  vanish(repo, repo.parent_path());
  if (!files.empty()) remove_below(repo.parent_path() / ".locks" / repo.filename());
  return files.size();
}

std::vector<fs::path> leftovers(const fs::path& cache) {
  std::vector<fs::path> found;
  const auto look = [&found](const fs::path& folder) {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      if (it->path().filename().string().starts_with(kLeftover)) found.push_back(it->path());
    }
  };
  look(cache);
  for (const auto& repo : cached_repos(cache)) look(repo.path);
  return found;
}

}  // namespace mlxk
