#include "probe/json_scan.h"

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

namespace {

constexpr size_t kMaxScanDepth = 256;

/// Follows brackets and strings through pieces of text.
class Scanner {
 public:
  /// False: this is no beginning of a JSON object.
  bool take(std::string_view text) {
    for (const char c : text) {
      if (in_string_) {
        if (escaped_) {
          escaped_ = false;
        } else if (c == '\\') {
          escaped_ = true;
        } else if (c == '"') {
          in_string_ = false;
        } else if (static_cast<unsigned char>(c) < 0x20) {
          return false;
        }
      } else if (c != ' ' && c != '\n' && c != '\r' && c != '\t' && !take_outside(c)) {
        return false;
      }
    }
    return true;
  }
  bool complete() const { return begun_ && open_.empty() && !in_string_; }

 private:
  bool take_outside(char c) {
    if (open_.empty()) {
      if (begun_ || c != '{') return false;
      begun_ = true;
    }
    if (c == '{' || c == '[') {
      open_ += c;
      return open_.size() <= kMaxScanDepth;
    }
    if (c == '}' || c == ']') {
      const bool pair = open_.back() == (c == '}' ? '{' : '[');
      open_.pop_back();
      return pair;
    }
    in_string_ = c == '"';
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  }

  std::string open_;  // brackets
  bool begun_ = false, in_string_ = false, escaped_ = false;
};

}  // namespace

bool is_whole_json_object(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(size_t{1} << 18);
  Scanner scanner;
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    if (!scanner.take({piece.data(), static_cast<size_t>(file.gcount())})) return false;
  }
  return scanner.complete();
}

}  // namespace mlxk
