#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mlxk {

/// A hash over bytes that come in pieces.
class Digest {
 public:
  enum class Kind { sha1, sha256 };
  explicit Digest(Kind kind);
  Digest& add(std::string_view bytes);
  /// Lower-case hex; ends the digest.
  std::string hex();

 private:
  std::shared_ptr<void> context_;
};

/// What the hub and git call a file's content.
struct FileHashes {
  uint64_t size = 0;     // bytes read
  std::string sha256;    // of the content
  std::string git_hash;  // SHA-1 of "blob <size>\0" and the content; empty: not asked for
};

/// Reads `path` to its end, for the git hash too where `with_git_hash` says so; `on_bytes` (may be empty) hears of
/// every piece's length. Throws io.
FileHashes hash_file(const std::filesystem::path& path, bool with_git_hash,
                     const std::function<void(uint64_t)>& on_bytes = {});

/// The same of bytes in memory.
FileHashes hash_bytes(std::string_view bytes);

}  // namespace mlxk
