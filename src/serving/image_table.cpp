#include "serving/image_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/digest.h"

namespace mlxk {

namespace {

/// Text from a file, escaped for a cell of a table.
std::string cell(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '|' || static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

}  // namespace

std::string coordinates(const GeoPosition& at) {
  return fmt::format("{:.4f}°{}, {:.4f}°{}", std::abs(at.latitude), at.latitude < 0 ? "S" : "N", std::abs(at.longitude),
                     at.longitude < 0 ? "W" : "E");
}

std::string image_hash(const std::string& bytes) { return Digest(Digest::Kind::sha256).add(bytes).hex().substr(0, 8); }

std::string image_summary(size_t count) {
  return fmt::format("Image Metadata ({})", counted(static_cast<int64_t>(count), "image"));
}

std::string image_table(const std::string& summary, const std::vector<ImageRow>& rows, bool with_exif) {
  std::string table = fmt::format("<details>\n<summary>📸 {}</summary>\n\n{}\n", summary, kImageTableMark);
  table += with_exif ? "| Image | Filename | Original | Location | Date | Camera |\n"
                       "|-------|----------|----------|----------|------|--------|\n"
                     : "| Image | Filename |\n|-------|----------|\n";
  for (const ImageRow& row : rows) {
    table += fmt::format("| {} | image_{}.jpeg |", row.number, row.hash);
    if (with_exif) {
      const ImageMetadata& own = row.metadata;
      table += fmt::format(" {} | {} | {} | {} |", cell(row.original),
                           own.position ? "📍 " + coordinates(*own.position) : "-",
                           own.date.empty() ? "-" : "📅 " + own.date, own.camera.empty() ? "-" : cell(own.camera));
    }
    table += "\n";
  }
  return table + "\n</details>\n\n";
}

}  // namespace mlxk
