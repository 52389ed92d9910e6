#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mlxk {

/// A hash over bytes that arrive in pieces.
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

/// The names that the hub and git give to a file's content.
struct FileHashes {
  uint64_t size = 0;     // bytes read
  std::string sha256;    // of the content
  std::string git_hash;  // SHA-1 of "blob <size>\0" and the content; empty: not asked for
};

/// Hashes the file `path`, with the git hash if `with_git_hash`; `on_bytes` (may be empty) gets the length of every
/// piece. Throws io.
FileHashes hash_file(const std::filesystem::path& path, bool with_git_hash,
                     const std::function<void(uint64_t)>& on_bytes = {});

/// Hashes bytes in memory.
FileHashes hash_bytes(std::string_view bytes);

}  // namespace mlxk
