#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// The folder to push, and the target.
struct PushRequest {
  std::filesystem::path folder;
  std::string repo, branch = "main", message = "mlx-knife push";
  bool create = false;         // creates the repository and the branch if they do not exist
  bool remove_absent = false;  // removes files of the branch that the folder lacks
};

/// A file of the folder.
struct LocalFile {
  std::string path;  // relative, "/" between components
  uint64_t size = 0;
  std::string sha256, git_hash;
  std::optional<std::string> content;  // replaces that of the file, without paths of this machine
};

/// The plan of a push; nothing has been sent yet.
struct PushPlan {
  PushRequest request;
  bool repo_exists = false, branch_exists = false;
  std::string parent_commit;  // of the branch; empty: none yet
  std::vector<LocalFile> added, modified;
  std::vector<std::string> absent;  // in the branch, not in the folder
  size_t unchanged = 0;

  bool changes_nothing() const {
    return added.empty() && modified.empty() && !(request.remove_absent && !absent.empty());
  }
};

/// Takes the progress of a phase ("reading", "sending <path>") in bytes; may throw to end the push.
using PushProgress = std::function<void(const std::string& what, uint64_t done, uint64_t total)>;

/// The files of `folder` that a push includes, by path: without version control, caches and matches of .hfignore.
/// Throws io, and bad_model for a link that leaves the folder.
std::vector<std::filesystem::path> files_to_push(const std::filesystem::path& folder);

/// Reads the folder and the branch and compares them by hash. Throws denied, network, io, cancelled.
PushPlan plan_push(HubClient& hub, const PushRequest& request, const PushProgress& progress);

struct PushResult {
  std::string commit, commit_url;  // empty: nothing changed
  bool created_repo = false, created_branch = false;
};

/// Creates repository and branch if needed, sends the large files to the LFS store and commits all changes in one step:
/// the branch is either as before or as the folder. Throws not_found (no repository, and `create` is off), denied,
/// network, io, cancelled.
PushResult run_push(HubClient& hub, const PushPlan& plan, bool is_private, const PushProgress& progress);

}  // namespace mlxk
