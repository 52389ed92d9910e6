#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace mlxk {

/// A regular file mapped read-only. The bytes live as long as this object; a file that somebody shortens meanwhile
/// ends the process, as with any mapping.
class MappedFile {
 public:
  /// Throws io when it cannot be opened or is not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace mlxk
