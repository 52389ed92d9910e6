#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/download.h"
#include "hub/hub_client.h"
#include "hub/repo_id.h"

namespace mlxk {

/// The files to pull.
struct PullRequest {
  RepoSpec repo;
  std::filesystem::path cache;       // hub_cache_dir(), or a similar folder
  std::vector<std::string> include;  // globs on the path in the repository; none: all
  std::vector<std::string> exclude;
};

/// The plan of a pull; nothing has been written yet.
struct PullPlan {
  HubRepo repo;
  std::string revision;  // the name in refs/; empty: none
  std::filesystem::path cache;
  std::vector<HubFile> all, files;  // of the repository, and the selected ones; both sorted by path
  std::vector<uint64_t> at_hand;    // bytes already present of each selected file
  std::vector<HubFile> needed;      // the contents of selected files that must be blobs, each once
  uint64_t total_bytes = 0;         // of the selected files, equal contents once
  uint64_t missing_bytes = 0;       // of total_bytes, not present yet
  uint64_t free_bytes = 0;          // of the cache's disk; 0: unknown

  std::filesystem::path repo_folder() const;
  std::filesystem::path locks() const;
  bool fits_disk() const { return free_bytes == 0 || missing_bytes <= free_bytes; }
};

/// Asks the hub for the files of `request`. A name without a namespace that the hub does not know is looked up in
/// mlx-community too. Throws denied, no_revision, not_found (no file is selected), bad_model, network, cancelled.
PullPlan plan_pull(HubClient& hub, const PullRequest& request);

struct PullResult {
  std::filesystem::path snapshot;
  uint64_t received_bytes = 0;
};

/// Executes `plan`: blobs, then the snapshot, then the ref. Throws io (also if the disk is too small, before anything
/// is written) and what download_blobs throws; downloaded bytes are kept for the next run.
PullResult run_pull(const HubClient& hub, const PullPlan& plan, const DownloadOptions& options);

/// Expands `typed` to a name in `cache`: a name without a namespace is that of mlx-community if it is cached. Parts of
/// a name do not count.
std::string expand_repo_name(const std::string& typed, const std::filesystem::path& cache);

}  // namespace mlxk
