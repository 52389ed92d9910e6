#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace mlxk {

/// The entries of a zip archive in memory (zip64 too), each checked to be within the archive: names to bytes, nothing
/// is extracted.
class ZipFile {
 public:
  /// Reads the central directory of `archive`, which must outlive this object; throws bad_model naming `place`, entry
  /// and value for a broken directory, a name that occurs twice, or an encrypted entry.
  ZipFile(std::span<const std::byte> archive, std::string place);

  struct Entry {
    std::span<const std::byte> data;
    bool compressed = false;
  };
  const std::map<std::string, Entry>& entries() const { return entries_; }
  /// The bytes of `name`; throws bad_model if there is no such entry, unsupported if it is compressed.
  std::span<const std::byte> bytes(const std::string& name) const;
  const std::string& place() const { return place_; }

 private:
  std::string place_;
  std::map<std::string, Entry> entries_;
};

}  // namespace mlxk
