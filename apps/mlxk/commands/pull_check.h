#pragma once

#include <string>

#include "hub/pull.h"
#include "json/json.h"

namespace mlxk {

/// What the cache holds of a repository before it is pulled.
struct CachedState {
  bool present = false;  // something of it, at the revision asked for
  bool whole = false;    // healthy, and no file of a recorded listing is missing
  bool partial = false;  // it only lacks files: a pull was interrupted, or was of a part
  std::string reason;    // why it is not whole
  std::string commit;    // of the snapshot; empty: none
};

/// Looks `name` up in `cache`; an empty `revision` means the default snapshot. Reads files, without contacting the hub.
CachedState look_up(const std::string& name, const std::string& revision, const std::filesystem::path& cache);

/// What a dry run tells: every file with its size, what is missing, disk and memory.
Json dry_run_data(const PullPlan& plan);
/// The same for people, several lines.
std::string dry_run_text(const PullPlan& plan);

}  // namespace mlxk
