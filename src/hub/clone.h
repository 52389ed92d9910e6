#pragma once

#include <filesystem>
#include <string>

#include "hub/locks.h"

namespace mlxk {

/// Where `mlxk clone` puts a workspace: `word` as a path; a bare name lies in the workspace home where there is one;
/// nothing: named like the repository there. Absolute. Throws invalid when nothing is given and there is no home.
std::filesystem::path clone_target(const std::string& word, const std::string& repo_name);

/// Throws invalid unless `target` can become a workspace: absent or an empty folder, in a folder that can be written
/// to, outside `cache`.
void check_clone_target(const std::filesystem::path& target, const std::filesystem::path& cache);

/// The private cache beside a target that one clone downloads into; it stays until the clone is done, so that an
/// interrupted one goes on where it was.
class CloneCache {
 public:
  /// For `spec` to `target`: the same arguments find the same folder again. Throws io, unavailable when another process
  /// is at it.
  CloneCache(const std::string& spec, const std::filesystem::path& target);
  ~CloneCache();
  CloneCache(const CloneCache&) = delete;
  CloneCache& operator=(const CloneCache&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Removes it at the end, with what has been downloaded.
  void discard() { keep_ = false; }

 private:
  std::filesystem::path path_;
  FileLock lock_;
  bool keep_ = true;
};

/// Copies the files of `snapshot`, links resolved, into the new folder `staging`; copy-on-write where the file system
/// can. With `hard_links` they become other names of the same content (of a CloneCache's blobs). Throws bad_model for a
/// link that leads out of the snapshot's repository, io.
void copy_snapshot(const std::filesystem::path& snapshot, const std::filesystem::path& staging, bool hard_links);

/// Makes `folder` a managed workspace cloned from `repo` at `commit`, with its content hash where that is defined.
void mark_cloned(const std::filesystem::path& folder, const std::string& repo, const std::string& commit);

}  // namespace mlxk
