#pragma once

#include <filesystem>
#include <string>

#include "hub/locks.h"

namespace mlxk {

/// The target of `mlxk clone`, absolute: `word` as a path; a bare name goes into the workspace home if there is one; an
/// empty `word` means the repository's name there. Throws invalid for an empty `word` without a home.
std::filesystem::path clone_target(const std::string& word, const std::string& repo_name);

/// Throws invalid unless `target` can become a workspace: absent or an empty folder, in a writable folder, outside
/// `cache`.
void check_clone_target(const std::filesystem::path& target, const std::filesystem::path& cache);

/// The private cache beside a target that one clone downloads into; it stays until the clone is done, so that an
/// interrupted clone can resume.
class CloneCache {
 public:
  /// Opens the cache for `spec` and `target`; the same arguments find the same folder again. Throws io, unavailable if
  /// another process uses it.
  CloneCache(const std::string& spec, const std::filesystem::path& target);
  ~CloneCache();
  CloneCache(const CloneCache&) = delete;
  CloneCache& operator=(const CloneCache&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Removes the cache and its downloads on destruction.
  void discard() { keep_ = false; }

 private:
  std::filesystem::path path_;
  FileLock lock_;
  bool keep_ = true;
};

/// Copies the files of `snapshot`, links resolved, into the new folder `staging`; copy-on-write if the file system
/// supports it. With `hard_links` they are hard links to the same content (a CloneCache's blobs). Throws io, and
/// bad_model for a link that leads out of the snapshot's repository.
void copy_snapshot(const std::filesystem::path& snapshot, const std::filesystem::path& staging, bool hard_links);

/// Makes `folder` a managed workspace cloned from `repo` at `commit`, with its content hash if that is defined.
void mark_cloned(const std::filesystem::path& folder, const std::string& repo, const std::string& commit);

}  // namespace mlxk
