#pragma once

#include <string>

#include "hub/pull.h"
#include "json/json.h"

namespace mlxk {

/// The state of a repository in the cache before it is pulled.
struct CachedState {
  bool present = false;  // part of it is there, at the requested revision
  bool whole = false;    // healthy, and no file of a recorded listing is missing
  bool partial = false;  // only files are missing: a pull was interrupted, or was partial
  std::string reason;    // why it is incomplete
  std::string commit;    // of the snapshot; may be empty
};

/// Looks `name` up in `cache`; an empty `revision` means the default snapshot. Reads files, without contacting the hub.
CachedState cached_state(const std::string& name, const std::string& revision, const std::filesystem::path& cache);

/// The report of a dry run: every file with its size, missing files, disk and memory.
Json dry_run_data(const PullPlan& plan);
/// The same for human readers, several lines.
std::string dry_run_text(const PullPlan& plan);

}  // namespace mlxk
