#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// A file being downloaded: <etag>.mlxk.incomplete. The map follows the `size` bytes of content: for each piece of
/// fixed length the number of bytes done from its start, written after the bytes themselves, because a process may be
/// killed at any point. The opener holds the content's lock. Different threads may write different pieces.
class PartialFile {
 public:
  /// Opens `path` with the bytes and the piece length of an earlier process, or makes it with pieces of `piece_bytes`;
  /// throws io.
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

  /// Appends `data` to `piece` and updates the map; `data` must not go past the piece's end. Throws io.
  void append(size_t piece, std::string_view data);

  /// Copies the first bytes from `prefix`, the partial download of another program; does nothing unless this file is
  /// new and `prefix` a regular file no longer than it. Returns the number of bytes.
  uint64_t adopt(const std::filesystem::path& prefix);

  /// Whether the content has this SHA-256 or, without one, this git hash; reads it once. Throws io.
  bool has_hash(const std::string& sha256, const std::string& git_hash) const;

  /// Discards all bytes.
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

/// The bytes done in the partial file `path` of a content of `size` bytes; 0 if there is none. Takes no lock.
uint64_t partial_bytes(const std::filesystem::path& path, uint64_t size);

}  // namespace mlxk
