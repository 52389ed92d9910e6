#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/prefix_tree.h"

namespace mlxk {

/// What kept prompts' keys and values depend on: the model's files (names, sizes, times), the kernels, and the build of
/// this program and of libmlx. As hex.
std::string prefix_identity(const std::filesystem::path& model_dir);

/// What stands for a cache_scope: its SHA-256 in hex, since a scope may be a secret.
std::string prefix_scope(const std::string& cache_scope);

/// The kept prompts of one model on disk, a file for each block or state: written by a thread of its own, bounded,
/// checked when read. Several processes may share a folder. A file that is damaged, foreign or cannot be read is
/// removed, with a warning, and never used. One thread at a time.
class PrefixFiles {
 public:
  /// A kept piece as a file has it: `tokens` are all from the prompt's beginning to its end.
  struct Piece {
    std::string scope;  // prefix_scope()
    std::vector<int32_t> tokens;
    std::shared_ptr<const PrefixBytes> bytes;  // without data
  };

  /// Uses a folder for `identity` in `dir`, which all together holds `budget_bytes` at most; throws io or denied when
  /// it cannot be made.
  PrefixFiles(const std::filesystem::path& dir, const std::string& identity, uint64_t budget_bytes);
  /// Writes what waits.
  ~PrefixFiles();
  PrefixFiles(const PrefixFiles&) = delete;
  PrefixFiles& operator=(const PrefixFiles&) = delete;

  /// What other runs left, those first that others follow.
  std::vector<Piece> list();
  /// The name of the file that write() makes of a piece that ends `tokens`.
  static std::string name_of(const std::string& scope, std::span<const int32_t> tokens, int from, bool is_state);
  /// Queues a piece (bytes->file is its name), or drops it where too much waits.
  void write(Piece piece);
  /// The same with its data; null where the file is gone or not what was listed.
  std::shared_ptr<const PrefixBytes> read(const PrefixBytes& bytes);
  /// Says that these were used now.
  void touch(std::vector<std::string> files);
  /// Bytes of all files, as last counted.
  uint64_t bytes() const;
  /// Waits until nothing waits to be written.
  void flush();

 private:
  struct Writer;

  std::filesystem::path folder_;
  std::string identity_;
  std::shared_ptr<Writer> writer_;
};

}  // namespace mlxk
