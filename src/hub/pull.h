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

/// What is to be pulled.
struct PullRequest {
  RepoSpec repo;
  std::filesystem::path cache;       // hub_cache_dir(), or a folder like it
  std::vector<std::string> include;  // globs on the path in the repository; none: all
  std::vector<std::string> exclude;
};

/// What a pull will do; nothing has been written.
struct PullPlan {
  HubRepo repo;
  std::string revision;  // to be kept in refs/; empty: none
  std::filesystem::path cache;
  std::vector<HubFile> all, files;  // of the repository; of those the chosen, both sorted by path
  std::vector<uint64_t> at_hand;    // bytes of each chosen file
  std::vector<HubFile> needed;      // of the chosen, the contents that must be blobs, each once
  uint64_t total_bytes = 0;         // of the chosen files, equal contents once
  uint64_t missing_bytes = 0;       // of those not at hand
  uint64_t free_bytes = 0;          // of the cache's disk; 0: unknown

  std::filesystem::path repo_folder() const;
  std::filesystem::path locks() const;
  bool fits_disk() const { return free_bytes == 0 || missing_bytes <= free_bytes; }
};

/// Asks the hub for what `request` means. A name without a namespace that the hub does not have is also looked for in
/// mlx-community. Throws denied, no_revision, not_found (no file is chosen), bad_model, network, cancelled.
PullPlan plan_pull(HubClient& hub, const PullRequest& request);

struct PullResult {
  std::filesystem::path snapshot;
  uint64_t received_bytes = 0;
};

/// Carries `plan` out: blobs, then the snapshot, then the ref. Throws io (also when the disk has no room, before
/// anything is written) and what download_blobs throws; what had come is then kept for the next time.
PullResult run_pull(const HubClient& hub, const PullPlan& plan, const DownloadOptions& options);

/// The name that `typed` has in `cache`: a name without a namespace means the one in mlx-community where that is
/// cached. A part of a name never counts.
std::string expand_repo_name(const std::string& typed, const std::filesystem::path& cache);

}  // namespace mlxk
