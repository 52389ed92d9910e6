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

/// A hash, in hex, of everything that cached keys and values depend on: the model's files (names, sizes, times), the
/// kernels, and the build of this program and of libmlx.
std::string prefix_identity(const std::filesystem::path& model_dir);

/// The SHA-256 of a cache_scope in hex; it replaces the scope, which may be a secret.
std::string prefix_scope(const std::string& cache_scope);

/// The cached prompts of one model on disk, with a file for each block or state: written by a thread of its own,
/// limited in size, verified when read. Several processes may share a folder. A file that is damaged, foreign or
/// unreadable is removed with a warning and never used. One thread at a time.
class PrefixFiles {
 public:
  /// A cached block or state as a file holds it: `tokens` are all from the prompt's beginning to the entry's end.
  struct Piece {
    std::string scope;  // prefix_scope()
    std::vector<int32_t> tokens;
    std::shared_ptr<const PrefixBytes> bytes;  // without data
  };

  /// Uses a folder for `identity` in `dir`; all folders in `dir` together hold at most `budget_bytes`. Throws io or
  /// denied if the folder cannot be made.
  PrefixFiles(const std::filesystem::path& dir, const std::string& identity, uint64_t budget_bytes);
  /// Writes the queued files.
  ~PrefixFiles();
  PrefixFiles(const PrefixFiles&) = delete;
  PrefixFiles& operator=(const PrefixFiles&) = delete;

  /// The entries that earlier runs left; an entry precedes those that follow it in a prompt.
  std::vector<Piece> list();
  /// The name of the file that write() makes for an entry that ends `tokens`.
  static std::string name_of(const std::string& scope, std::span<const int32_t> tokens, int from, bool is_state);
  /// Queues an entry (bytes->file is its name), or drops it if the queue is full.
  void write(Piece piece);
  /// The same entry with its data; null if the file is gone or is not the one listed.
  std::shared_ptr<const PrefixBytes> read(const PrefixBytes& bytes);
  /// Marks these files as used now.
  void touch(std::vector<std::string> files);
  /// Bytes of all files, at the last count.
  uint64_t bytes() const;
  /// Waits until the queue is empty.
  void flush();

 private:
  struct Writer;

  std::filesystem::path folder_;
  std::string identity_;
  std::shared_ptr<Writer> writer_;
};

}  // namespace mlxk
