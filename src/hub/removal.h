#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "hub/cache.h"

namespace mlxk {

/// The disk usage of a repository's folder; a blob counts once however many snapshots link to it.
struct RepoUsage {
  uint64_t bytes = 0;                           // of all files
  std::vector<std::filesystem::path> orphans;   // blobs that no snapshot links to
  std::vector<std::filesystem::path> partials;  // unfinished downloads
  uint64_t orphan_bytes = 0, partial_bytes = 0;
};

/// Measures `repo`; unreadable files do not count.
RepoUsage usage_of(const CachedRepo& repo);

/// The plan of a removal: a repository, or one of its snapshots with the blobs that only this one links to.
struct Removal {
  CachedRepo repo;
  std::string snapshot;                      // empty: the whole repository
  std::vector<std::filesystem::path> refs;   // of the snapshot
  std::vector<std::filesystem::path> blobs;  // of the snapshot
  uint64_t files = 0, bytes = 0;             // that become free
};

/// Plans the removal of `snapshot` of `repo`, or of all of it if `snapshot` is empty or the only one.
Removal plan_removal(const CachedRepo& repo, const std::string& snapshot);

/// Executes the plan. Files are first renamed in one step, so nothing is ever half removed; the next removal, or prune,
/// finishes a killed one. Links are removed, never their targets. Returns the number of lock files removed too. Throws
/// denied or io.
size_t remove(const Removal& removal);

/// The leftovers of killed removals in `cache`.
std::vector<std::filesystem::path> leftovers(const std::filesystem::path& cache);

/// Bytes on the disk below `path`, without links.
uint64_t bytes_below(const std::filesystem::path& path);

}  // namespace mlxk
