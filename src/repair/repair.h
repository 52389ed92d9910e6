#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace mlxk {

/// A problem with a model's files, and its repair (empty: it could not be repaired here).
struct Finding {
  std::string file;
  std::string problem;
  std::string fix;
};

struct RepairReport {
  std::vector<Finding> findings;
  std::string message;
};

struct RepairOptions {
  std::filesystem::path source;  // a folder with config.json
  std::filesystem::path target;  // new, or an empty folder
  bool index_only = false;       // only rebuild the index, whatever its state
  bool check_health = true;
};

/// Copies the model in `source` to a new workspace and repairs the copy: an index that is missing or does not match the
/// shards, empty end-of-sequence tokens, values that a preprocessor needs. The source is never changed; the target
/// appears complete or not at all. `progress` is called for each file copied and may throw to stop. Throws not_found,
/// invalid, bad_model (also if the result is not healthy) or io.
RepairReport repair_model(const RepairOptions& options,
                          const std::function<void(const std::string& what, int64_t done, int64_t total)>& progress);

}  // namespace mlxk
