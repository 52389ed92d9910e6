#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// A file on its way: <etag>.mlxk.incomplete. Behind its `size` bytes of content stands the map: for each piece of
/// fixed length how many bytes from the piece's start are at hand, written behind the bytes themselves: a process may
/// be killed at any point. Whoever opens one holds the content's lock. The parts of different pieces may be written by
/// different threads.
class PartialFile {
 public:
  /// Opens `path`, taking up what an earlier process left with its length of pieces, or makes it with pieces of
  /// `piece_bytes`; throws io.
  PartialFile(std::filesystem::path path, uint64_t size, uint64_t piece_bytes);
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile();

  size_t pieces() const { return done_.size(); }
  uint64_t begin(size_t piece) const { return piece * piece_bytes_; }
  uint64_t length(size_t piece) const;
  uint64_t done(size_t piece) const { return done_[piece]; }
  uint64_t at_hand() const;
  bool complete() const { return at_hand() == size_; }
  size_t piece_of(uint64_t offset) const { return static_cast<size_t>(offset / piece_bytes_); }

  /// Appends to what `piece` has and puts that on the map; `data` must not go past the piece's end. Throws io.
  void append(size_t piece, std::string_view data);

  /// Takes the first bytes from `prefix`, a download by another program, which is only read; does nothing unless the
  /// partial file is new and `prefix` a plain file no longer than it. Returns the bytes taken.
  uint64_t adopt(const std::filesystem::path& prefix);

  /// Whether the content has this SHA-256 or, without one, this git hash; reads it once. Throws io.
  bool has_hash(const std::string& sha256, const std::string& git_hash) const;

  /// Forgets everything at hand.
  void reset();

  /// Makes the complete file `target`, on the disk and in one step, and closes it; throws io.
  void finish(const std::filesystem::path& target);

 private:
  void start();

  std::filesystem::path path_;
  uint64_t size_, new_piece_bytes_, piece_bytes_ = 0;
  int descriptor_ = -1;
  bool fresh_ = false;
  std::vector<uint64_t> done_;
};

/// The bytes at hand in the partial file `path` of a content of `size` bytes; 0 when there is none. Takes no lock.
uint64_t partial_bytes(const std::filesystem::path& path, uint64_t size);

}  // namespace mlxk
