#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "hub/cache.h"

namespace mlxk {

/// What a repository's folder holds, in bytes on the disk; a blob counts once however many snapshots link to it.
struct RepoUsage {
  uint64_t bytes = 0;                           // all of it
  std::vector<std::filesystem::path> orphans;   // blobs that no snapshot links to
  std::vector<std::filesystem::path> partials;  // unfinished downloads
  uint64_t orphan_bytes = 0, partial_bytes = 0;
};

/// Looks through `repo`; what cannot be read counts nothing.
RepoUsage usage_of(const CachedRepo& repo);

/// What `rm` would take away: a repository, or one of its snapshots with the blobs that only this one links to.
struct Removal {
  CachedRepo repo;
  std::string snapshot;                      // empty: the whole repository
  std::vector<std::filesystem::path> refs;   // of the snapshot
  std::vector<std::filesystem::path> blobs;  // of the snapshot
  uint64_t files = 0, bytes = 0;             // what becomes free
};

/// The plan for `snapshot` of `repo`, or for all of it: where `snapshot` is empty or the only one.
Removal plan_removal(const CachedRepo& repo, const std::string& snapshot);

/// Carries the plan out. What disappears is renamed in one step first, so nothing is ever half there, and a removal
/// that was killed is finished by the next one or by prune. Links are removed, never what they lead to. Returns how
/// many lock files went too. Throws denied or io.
size_t remove(const Removal& removal);

/// What killed removals left behind in `cache`.
std::vector<std::filesystem::path> leftovers(const std::filesystem::path& cache);

/// Bytes on the disk below `path`; links count nothing.
uint64_t bytes_below(const std::filesystem::path& path);

}  // namespace mlxk
