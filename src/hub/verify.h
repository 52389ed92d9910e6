#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub_client.h"
#include "hub/resolve.h"

namespace mlxk {

/// The result for one file.
struct VerifiedFile {
  enum class State {
    ok,
    wrong,  // differs: `reason`
    missing,
    unrecorded,  // present without a record
  };
  std::string path;  // relative, "/" between components
  State state = State::ok;
  std::string reason;
  uint64_t size = 0;
  std::string sha256;  // actual; empty if the file is missing or only its header was read
};

/// Takes the progress of reading in bytes; may throw to end the verification.
using VerifyProgress = std::function<void(const std::string& path, uint64_t done, uint64_t total)>;

/// The files of a snapshot as the cache recorded them at the pull: the hub's listing, else the names of the blobs,
/// which are hashes. Paths with git hashes or SHA-256; unknown sizes are 0.
std::vector<HubFile> recorded_files(const ModelRef& cached);

/// Reads every file below `folder` and compares size and hash with `expected`; sorted by path. Throws io, and the
/// exceptions of `progress`.
std::vector<VerifiedFile> verify_files(const std::filesystem::path& folder, const std::vector<HubFile>& expected,
                                       const VerifyProgress& progress);

/// Compares a managed workspace with the hashes in its sentinel: weights by size and header only. Throws not_found if
/// it has none.
std::vector<VerifiedFile> verify_workspace(const std::filesystem::path& workspace);

}  // namespace mlxk
