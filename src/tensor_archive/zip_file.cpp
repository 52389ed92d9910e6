#include "tensor_archive/zip_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/error.h"

namespace mlxk {

namespace {
using Bytes = std::span<const std::byte>;

constexpr uint64_t kMaxEntries = 100'000;
constexpr uint32_t kWide = 0xffffffff;  // the value is in a zip64 field

class ZipReader {
 public:
  ZipReader(Bytes archive, const std::string& place) : archive_(archive), place_(place) {}

  /// A little-endian number at `at`.
  template <typename T>
  T number(uint64_t at) const {
    if (at > archive_.size() || archive_.size() - at < sizeof(T)) throw broken("it is cut off");
    T value;
    std::memcpy(&value, archive_.data() + at, sizeof value);
    return value;
  }

  Bytes part(uint64_t at, uint64_t size, const std::string& what) const {
    if (at > archive_.size() || archive_.size() - at < size) {
      throw broken(fmt::format("{} at {} with {} bytes ends past the file", what, at, size));
    }
    return archive_.subspan(at, size);
  }

  Error broken(const std::string& why) const {
    return {ErrorKind::bad_model, fmt::format("{}: not a valid zip archive: {}", place_, why)};
  }

 private:
  Bytes archive_;
  const std::string& place_;
};

struct Directory {
  uint64_t entries, offset;
};

Directory find_directory(const ZipReader& reader, Bytes archive) {
  constexpr uint64_t kEnd = 22, kLongestComment = 65535;
  if (archive.size() < kEnd) throw reader.broken("it is too short");
  const uint64_t last = archive.size() - kEnd, first = last > kLongestComment ? last - kLongestComment : 0;
  for (uint64_t at = last + 1; at-- > first;) {
    if (reader.number<uint32_t>(at) != 0x06054b50) continue;
    Directory directory{reader.number<uint16_t>(at + 10), reader.number<uint32_t>(at + 16)};
    if (at >= 20 && reader.number<uint32_t>(at - 20) == 0x07064b50) {
      const auto wide = reader.number<uint64_t>(at - 12);
      if (reader.number<uint32_t>(wide) != 0x06064b50)
        throw reader.broken("the zip64 directory is not where it should be");
      directory = {reader.number<uint64_t>(wide + 32), reader.number<uint64_t>(wide + 48)};
    }
    return directory;
  }
  throw reader.broken("there is no directory");
}

/// The 64-bit field number `index` among those of the extra field that are in use.
uint64_t wide_field(const ZipReader& reader, Bytes extra, size_t index) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    uint16_t id, size;
    std::memcpy(&id, extra.data() + at, 2);
    std::memcpy(&size, extra.data() + at + 2, 2);
    if (id == 1 && at + 4 + size <= extra.size() && (index + 1) * 8 <= size) {
      uint64_t value;
      std::memcpy(&value, extra.data() + at + 4 + index * 8, 8);
      return value;
    }
    at += 4u + size;
  }
  throw reader.broken("a zip64 size is missing");
}
}  // namespace

ZipFile::ZipFile(Bytes archive, std::string place) : place_(std::move(place)) {
  const ZipReader reader(archive, place_);
  const auto directory = find_directory(reader, archive);
  if (directory.entries > kMaxEntries) throw reader.broken(fmt::format("it has {} entries", directory.entries));
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (reader.number<uint32_t>(at) != 0x02014b50) throw reader.broken(fmt::format("entry {} has no header", i));
    const auto flags = reader.number<uint16_t>(at + 8), method = reader.number<uint16_t>(at + 10);
    uint64_t packed = reader.number<uint32_t>(at + 20), size = reader.number<uint32_t>(at + 24);
    const auto name_bytes = reader.number<uint16_t>(at + 28), extra_bytes = reader.number<uint16_t>(at + 30);
    const auto comment_bytes = reader.number<uint16_t>(at + 32);
    uint64_t local = reader.number<uint32_t>(at + 42);
    const auto name_part = reader.part(at + 46, name_bytes, "a name");
    const std::string name(reinterpret_cast<const char*>(name_part.data()), name_part.size());
    const auto extra = reader.part(at + 46 + name_bytes, extra_bytes, "an extra field");
    size_t wide = 0;
    if (size == kWide) size = wide_field(reader, extra, wide++);
    if (packed == kWide) packed = wide_field(reader, extra, wide++);
    if (local == kWide) local = wide_field(reader, extra, wide++);
    if (flags & 1) throw reader.broken(fmt::format("{} is encrypted", name));
    if (method == 0 && packed != size) throw reader.broken(fmt::format("{} has two sizes", name));
    if (reader.number<uint32_t>(local) != 0x04034b50)
      throw reader.broken(fmt::format("{} is not where it should be", name));
    const uint64_t data = local + 30 + reader.number<uint16_t>(local + 26) + reader.number<uint16_t>(local + 28);
    if (!entries_.emplace(name, Entry{reader.part(data, packed, name), method != 0}).second) {
      throw reader.broken(fmt::format("{} occurs twice", name));
    }
    at += uint64_t{46} + name_bytes + extra_bytes + comment_bytes;
  }
}

Bytes ZipFile::bytes(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw Error(ErrorKind::bad_model, fmt::format("{}: there is no entry {}", place_, name));
  if (found->second.compressed) {
    throw Error(ErrorKind::unsupported, fmt::format("{}: entry {} is compressed", place_, name),
                "save the weights without compression");
  }
  return found->second.data;
}

}  // namespace mlxk
