#include "hub/clone.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#endif
#ifdef __APPLE__
#include <sys/clonefile.h>
#endif

#include <cstring>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "base/timestamp.h"
#include "hub/cache.h"
#include "hub/content_hash.h"
#include "hub/environment.h"
#include "hub/workspace.h"
#include "json/json.h"

namespace mlxk {

namespace {

constexpr const char* kCacheMark = ".mlxk2_temp_cache_sentinel";  // folders without it are never removed

[[noreturn]] void fail(const fs::path& path, const std::error_code& error) {
  throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path.string(), error.message()));
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(path, error);
}

/// Makes a copy-on-write clone; false if the file system does not support it.
bool clone_file(const fs::path& from, const fs::path& to) {
#if defined(__APPLE__)
  return clonefile(from.c_str(), to.c_str(), 0) == 0;
#elif defined(FICLONE)
  const int source = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (source < 0) return false;
  const int target = open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool cloned = target >= 0 && ioctl(target, FICLONE, source) == 0;
  close(source);
  if (target >= 0) close(target);
  if (target >= 0 && !cloned) unlink(to.c_str());
  return cloned;
#else
  return false;
#endif
}

void copy_one(const fs::path& from, const fs::path& to, bool hard_link) {
  std::error_code error;
  if (hard_link) {
    fs::create_hard_link(from, to, error);
    if (!error) return;
  }
  if (clone_file(from, to)) return;
  fs::copy_file(from, to, error);
  if (error) fail(to, error);
}

}  // namespace

fs::path clone_target(const std::string& word, const std::string& repo_name) {
  const auto home = workspace_home();
  if (word.empty()) {
    if (!home) {
      throw Error(ErrorKind::invalid, "Target directory required.",
                  "name one, or set MLXK_WORKSPACE_HOME to a folder of workspaces");
    }
    return *home / repo_name.substr(repo_name.rfind('/') + 1);
  }
  fs::path target = fs::path(word).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  if (home && word.find('/') == word.npos) target = *home / target;
  return fs::absolute(target).lexically_normal();
}

void check_clone_target(const fs::path& target, const fs::path& cache) {
  std::error_code error;
  if (is_within(fs::weakly_canonical(target, error), fs::weakly_canonical(cache, error))) {
    throw Error(ErrorKind::invalid, fmt::format("Target directory '{}' is in the cache", target.string()));
  }
  const fs::file_status status = fs::symlink_status(target, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    throw Error(ErrorKind::invalid, fmt::format("Target '{}' exists and is not a directory", target.string()));
  }
  if (fs::exists(status) && !fs::is_empty(target, error)) {
    throw Error(ErrorKind::invalid, fmt::format("Target directory '{}' is not empty", target.string()));
  }
  const fs::path parent = target.parent_path();
  if (!fs::is_directory(parent, error)) {
    throw Error(ErrorKind::invalid, fmt::format("Parent directory '{}' does not exist", parent.string()));
  }
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorKind::invalid, fmt::format("Parent directory '{}' is not writable", parent.string()));
  }
}

CloneCache::CloneCache(const std::string& spec, const fs::path& target) {
  const std::string key =
      Digest(Digest::Kind::sha256).add(fmt::format("{}:{}", spec, target.string())).hex().substr(0, 16);
  path_ = target.parent_path() / (".mlxk2_temp_" + key);
  make_folders(path_);
  lock_ = FileLock::try_lock(path_ / kCacheMark, true);
  if (lock_.held()) return;
  std::error_code error;
  if (!fs::exists(path_ / kCacheMark, error))
    throw Error(ErrorKind::io, fmt::format("cannot write {}", path_.string()));
  throw Error(ErrorKind::unavailable, fmt::format("another process is cloning to {}", target.string()));
}

CloneCache::~CloneCache() {
  std::error_code ignored;
  if (!keep_) fs::remove_all(path_, ignored);
}

void copy_snapshot(const fs::path& snapshot, const fs::path& staging, bool hard_links) {
  std::error_code error;
  fs::remove_all(staging, error);
  make_folders(staging);
  const fs::path repo = fs::canonical(snapshot.parent_path().parent_path());
  for (fs::recursive_directory_iterator it(snapshot), end; it != end; ++it) {
    check_nesting(it);
    const fs::path to = staging / it->path().lexically_relative(snapshot);
    if (is_side_file(it->path().filename().string())) {
      it.disable_recursion_pending();
      continue;
    }
    if (fs::is_directory(it->symlink_status())) {
      make_folders(to);
      continue;
    }
    const fs::path real = fs::canonical(it->path(), error);
    if (error || !fs::is_regular_file(real) || !is_within(real, repo)) {
      throw Error(ErrorKind::bad_model, fmt::format("{} is a link to no file of its repository", it->path().string()));
    }
    copy_one(real, to, hard_links);
  }
}

void mark_cloned(const fs::path& folder, const std::string& repo, const std::string& commit) {
  write_sentinel(folder, {{"mlxk_version", MLXK_VERSION},
                          {"created_at", utc_now()},
                          {"source_repo", repo},
                          {"source_revision", commit},
                          {"managed", true},
                          {"operation", "clone"}});
  try {
    recalculate_content_hash(folder);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::bad_model) throw;  // a broken weight file has no hash; health reports it
  }
}

}  // namespace mlxk
