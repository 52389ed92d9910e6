#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub_client.h"
#include "hub/resolve.h"

namespace mlxk {

/// What became of one file.
struct VerifiedFile {
  enum class State {
    ok,
    wrong,  // not what it should be: `reason`
    missing,
    unrecorded,  // there, but nothing tells what it should be
  };
  std::string path;  // relative, "/" between components
  State state = State::ok;
  std::string reason;
  uint64_t size = 0;
  std::string sha256;  // of what is there; empty where missing, or where only the header of a weight file was looked at
};

/// Called now and then while bytes are read, with how many of how many; may throw to end it.
using VerifyProgress = std::function<void(const std::string& path, uint64_t done, uint64_t total)>;

/// What the cache recorded of a snapshot's files when it was pulled: the hub's listing, else the names of the blobs,
/// which are hashes. Names and git hashes or SHA-256; the sizes are 0 where they are not known.
std::vector<HubFile> recorded_files(const ModelRef& cached);

/// Reads every file below `folder` and compares size and hash with `expected`; sorted by path. Throws io, and what
/// `progress` throws.
std::vector<VerifiedFile> verify_files(const std::filesystem::path& folder, const std::vector<HubFile>& expected,
                                       const VerifyProgress& progress);

/// Compares a managed workspace with the hashes in its sentinel: weights by size and header only. Throws not_found when
/// it has none.
std::vector<VerifiedFile> verify_workspace(const std::filesystem::path& workspace);

}  // namespace mlxk
