#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

/// A hashed file.
struct HashedFile {
  std::string path;  // relative, "/" between components
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  std::string sha;  // "sha256:<64 hex>"
};

/// The content hash of a workspace: files by path, and one value over all ("sha256:<64 hex>").
struct ContentHash {
  std::string value;
  std::vector<HashedFile> files;
};

/// The default exclusions: folders end with "/", all others are globs on a file's own name.
const std::vector<std::string>& default_exclusions();

/// Content hash v2 of `workspace`, which covers only the headers of safetensors files. None if it is undefined: a
/// broken safetensors header, a link that leaves the workspace, an unreadable file.
std::optional<ContentHash> hash_content(const std::filesystem::path& workspace,
                                        const std::vector<std::string>& exclusions = default_exclusions());

/// The content hash of a model folder ("sha256:<64 hex>"). For a snapshot of the cache, whose links leave it, a hash
/// over the names of its files and blobs; the cache names blobs by their content. None if it is undefined.
std::optional<std::string> hash_model(const std::filesystem::path& folder);

enum class Cleanliness { clean, modified, unknown };

/// Whether `workspace` still has the hash of its sentinel: by size and time, or by content if only the time changed
/// (the new time is then stored). Unknown: unmanaged, another algorithm, a malformed index.
Cleanliness check_clean(const std::filesystem::path& workspace);

/// Sets the hash fields (v2) of `sentinel` from `hash`; all other fields stay.
void set_content_hash(Json& sentinel, const ContentHash& hash, const std::vector<std::string>& exclusions);

/// Recalculates the hash of a managed workspace and stores it in the sentinel; throws io, not_found if the workspace is
/// not managed, bad_model if the hash is undefined.
void recalculate_content_hash(const std::filesystem::path& workspace);

}  // namespace mlxk
