#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// The warnings about the lines of a file: the first few in full, the rest as a count.
class LineWarnings {
 public:
  explicit LineWarnings(std::string file) : file_(std::move(file)) {}
  /// Adds a warning about line `line`; 0 means the whole file.
  void add(uint64_t line, const std::string& text);
  /// The warnings as "FILE:LINE: TEXT", followed by the number of further ones.
  std::vector<std::string> texts() const;

 private:
  std::string file_;
  std::vector<std::string> first_;
  uint64_t more_ = 0, last_line_ = 0;
};

/// Calls `take` with the number (from 1) and text of every line of `path` that is not blank. An Error thrown by `take`
/// becomes a warning, and reading continues with the next line. A broken last line without a line end is reported as
/// cut off. Lines of more than a megabyte are skipped with a warning. Throws io if the file cannot be read.
void read_json_lines(const std::filesystem::path& path, LineWarnings& warnings,
                     const std::function<void(uint64_t line, std::string_view text)>& take);

}  // namespace mlxk
