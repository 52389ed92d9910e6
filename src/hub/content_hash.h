#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// One file as the hash saw it.
struct HashedFile {
  std::string path;  // relative, "/" between components
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  std::string sha;  // "sha256:<64 hex>"
};

/// A workspace's content: files by path, and one value over all ("sha256:<64 hex>").
struct ContentHash {
  std::string value;
  std::vector<HashedFile> files;
};

/// What is not content: names of folders end with "/", the others are globs on a file's own name.
const std::vector<std::string>& default_exclusions();

/// Content hash v2 of `workspace`: weights by their safetensors header alone, so it reads no weight. None when it is
/// not defined: a broken safetensors header, a link that leaves the workspace, a file that cannot be read.
std::optional<ContentHash> hash_content(const std::filesystem::path& workspace,
                                        const std::vector<std::string>& exclusions = default_exclusions());

enum class Cleanliness { clean, modified, unknown };

/// Whether `workspace` still is what its sentinel's hash says: by size and time, by content where only the time moved
/// (the new time is then stored). Unknown: unmanaged, another algorithm, a malformed index.
Cleanliness check_clean(const std::filesystem::path& workspace);

/// `sentinel` with the hash fields of v2 set from `hash`; every other field stays.
void set_content_hash(Json& sentinel, const ContentHash& hash, const std::vector<std::string>& exclusions);

/// Hashes a managed workspace anew and stores that in its sentinel; throws not_found when it is not managed, bad_model
/// when the hash is undefined, io.
void recalculate_content_hash(const std::filesystem::path& workspace);

/// Now, as "2026-01-31T23:59:59Z".
std::string utc_now();

}  // namespace mlxk
