#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// What is wrong with lines of a file: the first few in full, the rest counted.
class LineWarnings {
 public:
  explicit LineWarnings(std::string file) : file_(std::move(file)) {}
  /// Line 0 is the whole file.
  void add(uint64_t line, const std::string& text);
  /// "FILE:LINE: TEXT", and at last how many more there are.
  std::vector<std::string> texts() const;

 private:
  std::string file_;
  std::vector<std::string> first_;
  uint64_t more_ = 0, last_line_ = 0;
};

/// Calls `take` with the number (from 1) and text of every line of `path` that is not blank. What `take` throws as an
/// Error becomes a warning, and the next line is read; a broken last line without an end is said to be cut off. Lines
/// of more than a megabyte are passed over with a warning. Throws io when the file cannot be read.
void read_json_lines(const std::filesystem::path& path, LineWarnings& warnings,
                     const std::function<void(uint64_t line, std::string_view text)>& take);

}  // namespace mlxk
