// Exif 2.3 (JEITA CP-3451C): a TIFF structure whose first directory names the Exif and the GPS directories.
#include "media/exif.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"

namespace mlxk {

namespace {

using Bytes = std::span<const uint8_t>;

enum Tag : uint16_t {
  kGpsLatitudeRef = 1,
  kGpsLatitude = 2,
  kGpsLongitudeRef = 3,
  kGpsLongitude = 4,
  kGpsDateStamp = 29,
  kModel = 272,
  kOrientation = 274,
  kExifDirectory = 34665,
  kGpsDirectory = 34853,
  kDateTimeOriginal = 36867,
};

constexpr int kMaxDirectories = 64;

/// The entries of one directory; values are looked up by tag. Everything is checked against the bytes.
class TiffReader {
 public:
  explicit TiffReader(Bytes bytes) : bytes_(bytes) {
    if (bytes.size() < 8) return;
    little_ = bytes[0] == 'I';
    const bool marked = (bytes[0] == 'I' && bytes[1] == 'I') || (bytes[0] == 'M' && bytes[1] == 'M');
    valid_ = marked && number(2, 2) == 42;
  }
  bool valid() const { return valid_; }
  uint32_t first() const { return static_cast<uint32_t>(number(4, 4)); }

  /// Whether there is a directory at `offset`; one that was visited before is a loop.
  bool enter(uint32_t offset) {
    if (offset < 8 || offset + uint64_t{2} > bytes_.size()) return false;
    if (!met_.insert(offset).second)
      throw Error(ErrorKind::invalid, fmt::format("the EXIF directory at byte {} leads back to itself", offset));
    directory_ = offset;
    count_ = number(offset, 2);
    count_ = std::min(count_, (bytes_.size() - offset - 2) / 12);
    return true;
  }
  /// The directory after the one entered last.
  uint32_t next() const {
    const uint64_t at = directory_ + 2 + 12 * count_;
    return at + 4 <= bytes_.size() ? static_cast<uint32_t>(number(at, 4)) : 0;
  }

  std::optional<uint32_t> whole(Tag tag) const {
    const auto found = find(tag);
    if (!found || found->count < 1) return std::nullopt;
    if (found->type == 3) return static_cast<uint32_t>(number(found->at, 2));
    if (found->type == 4 || found->type == 13) return static_cast<uint32_t>(number(found->at, 4));
    return std::nullopt;
  }
  std::string text(Tag tag) const {
    const auto found = find(tag);
    if (!found || (found->type != 2 && found->type != 1 && found->type != 7)) return {};
    const auto* begin = reinterpret_cast<const char*>(bytes_.data() + found->at);
    std::string text(begin, strnlen(begin, std::min<uint64_t>(found->count, 256)));
    std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; });
    while (!text.empty() && text.back() == ' ') text.pop_back();
    text.erase(0, text.find_first_not_of(' ') == std::string::npos ? text.size() : text.find_first_not_of(' '));
    return text;
  }
  /// Degrees, minutes, seconds.
  std::optional<double> degrees(Tag tag) const {
    const auto found = find(tag);
    if (!found || found->type != 5 || found->count < 1) return std::nullopt;
    double sum = 0, unit = 1;
    for (uint64_t i = 0; i < std::min<uint64_t>(found->count, 3); ++i, unit *= 60) {
      const auto below = number(found->at + 8 * i + 4, 4);
      if (below == 0) {
        if (number(found->at + 8 * i, 4) == 0) continue;  // 0/0: not known
        return std::nullopt;
      }
      sum += static_cast<double>(number(found->at + 8 * i, 4)) / static_cast<double>(below) / unit;
    }
    return sum;
  }

 private:
  struct Entry {
    uint64_t type, count, at;  // of its value
  };

  uint64_t number(uint64_t at, int size) const {
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) value = value << 8 | bytes_[at + static_cast<uint64_t>(little_ ? size - 1 - i : i)];
    return value;
  }
  std::optional<Entry> find(Tag tag) const {
    constexpr uint64_t kSizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    for (uint64_t i = 0; i < count_; ++i) {
      const uint64_t at = directory_ + 2 + 12 * i;
      if (number(at, 2) != tag) continue;
      Entry entry{number(at + 2, 2), number(at + 4, 4), at + 8};
      if (entry.type == 0 || entry.type >= std::size(kSizes)) return std::nullopt;
      const uint64_t size = kSizes[entry.type] * entry.count;
      if (size > 4) entry.at = number(at + 8, 4);
      if (entry.at + size > bytes_.size()) return std::nullopt;
      return entry;
    }
    return std::nullopt;
  }

  Bytes bytes_;
  bool little_ = false, valid_ = false;
  uint64_t directory_ = 0, count_ = 0;
  std::set<uint32_t> met_;
};

/// "2025:05:11 …" or "2025-05-11" as 2025-05-11; empty if it is not a date.
std::string date_of(const std::string& text) {
  if (text.size() < 10) return {};
  std::string date = text.substr(0, 10);
  for (size_t i = 0; i < date.size(); ++i) {
    const bool mark = i == 4 || i == 7;
    if (mark ? date[i] != ':' && date[i] != '-' : date[i] < '0' || date[i] > '9') return {};
    if (mark) date[i] = '-';
  }
  const int month = std::stoi(date.substr(5, 2)), day = std::stoi(date.substr(8, 2));
  return date.substr(0, 4) != "0000" && month >= 1 && month <= 12 && day >= 1 && day <= 31 ? date : "";
}

std::optional<GeoPosition> position_of(const TiffReader& gps) {
  auto latitude = gps.degrees(kGpsLatitude), longitude = gps.degrees(kGpsLongitude);
  if (!latitude || !longitude) return std::nullopt;
  if (gps.text(kGpsLatitudeRef).starts_with("S")) *latitude = -*latitude;
  if (gps.text(kGpsLongitudeRef).starts_with("W")) *longitude = -*longitude;
  if (std::abs(*latitude) > 90 || std::abs(*longitude) > 180) return std::nullopt;
  return GeoPosition{*latitude, *longitude};
}

uint64_t big_endian(Bytes bytes, size_t at, int size) {
  uint64_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | bytes[at + static_cast<size_t>(i)];
  return value;
}

bool starts_with(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

/// The APP1 segment that is EXIF, before the first scan.
Bytes exif_in_jpeg(Bytes bytes) {
  constexpr std::string_view kName("Exif\0\0", 6);
  for (size_t at = 2; at + 4 <= bytes.size();) {
    if (bytes[at] != 0xff) return {};
    const uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // fill
      ++at;
      continue;
    }
    if (marker == 0xda || marker == 0xd9) return {};
    const size_t size = big_endian(bytes, at + 2, 2);
    if (size < 2 || at + 2 + size > bytes.size()) return {};
    const Bytes segment = bytes.subspan(at + 4, size - 2);
    if (marker == 0xe1 && starts_with(segment, kName)) return segment.subspan(kName.size());
    at += 2 + size;
  }
  return {};
}

Bytes exif_in_png(Bytes bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const uint64_t size = big_endian(bytes, at, 4);
    if (at + 12 + size > bytes.size()) return {};
    if (starts_with(bytes.subspan(at + 4), "eXIf")) return bytes.subspan(at + 8, size);
    at += 12 + size;
  }
  return {};
}

Bytes exif_in_webp(Bytes bytes) {
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const uint64_t size = bytes[at + 4] | bytes[at + 5] << 8 | bytes[at + 6] << 16 | uint64_t{bytes[at + 7]} << 24;
    if (at + 8 + size > bytes.size()) return {};
    if (starts_with(bytes.subspan(at), "EXIF")) {
      const Bytes exif = bytes.subspan(at + 8, size);
      return starts_with(exif, "Exif") && exif.size() > 6 ? exif.subspan(6) : exif;
    }
    at += 8 + size + size % 2;
  }
  return {};
}

}  // namespace

Exif parse_exif(Bytes tiff) {
  Exif exif;
  TiffReader reader(tiff);
  if (!reader.valid() || !reader.enter(reader.first())) return exif;
  const uint32_t orientation = reader.whole(kOrientation).value_or(1);
  if (orientation >= 1 && orientation <= 8) exif.orientation = static_cast<int>(orientation);
  exif.metadata.camera = reader.text(kModel);
  exif.metadata.date = date_of(reader.text(kDateTimeOriginal));  // written here by some programs
  const auto detail = reader.whole(kExifDirectory), gps = reader.whole(kGpsDirectory);
  uint32_t next = reader.next();
  if (detail && reader.enter(*detail)) {
    const std::string date = date_of(reader.text(kDateTimeOriginal));
    if (!date.empty()) exif.metadata.date = date;
  }
  if (gps && reader.enter(*gps)) {
    exif.metadata.position = position_of(reader);
    const std::string date = date_of(reader.text(kGpsDateStamp));
    if (!date.empty()) exif.metadata.date = date;
  }
  for (int i = 0; next && i < kMaxDirectories && reader.enter(next); ++i) next = reader.next();  // only for loops
  return exif;
}

Exif read_exif(Bytes image) {
  if (starts_with(image, "\xff\xd8")) return parse_exif(exif_in_jpeg(image));
  if (starts_with(image, "\x89PNG")) return parse_exif(exif_in_png(image));
  if (starts_with(image, "RIFF")) return parse_exif(exif_in_webp(image));
  if (starts_with(image, "II*") || starts_with(image, "MM")) return parse_exif(image);
  return {};
}

}  // namespace mlxk
