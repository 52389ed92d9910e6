#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "base/page_guard.h"

namespace mlxk {

/// A regular file mapped read-only: its pages are those of the system's cache, shared with every other process. The
/// bytes live as long as this object. If somebody shortens the file meanwhile, the missing bytes read as zeros, and
/// check() reports them.
class MappedFile {
 public:
  /// Throws io if the file cannot be opened or is not regular.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }
  /// Frees the memory of the pages that are wholly in `part`; a later access reads them from the file again.
  void release(std::span<const std::byte> part) const;
  /// Reads the pages of `part` that are not in memory yet. Any thread.
  void fetch(std::span<const std::byte> part) const;
  /// Throws io, naming the file, if a page could not be read since the file was mapped. Any thread.
  void check() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
  std::unique_ptr<PageGuard> guard_;
};

}  // namespace mlxk
