#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace mlxk {

/// Reads a text file of any size line by line. Lines end with \n or \r\n; a byte order mark is skipped.
class LineReader {
 public:
  /// Opens `path`; throws not_found or io. A line of more than `limit` bytes is truncated and marked.
  explicit LineReader(const std::filesystem::path& path, size_t limit = size_t{16} << 20);
  /// Reads the next line; false at the end of the file. Throws io.
  bool next();

  const std::string& text() const { return line_; }
  int64_t number() const { return number_; }      // of the current line, from 1
  bool is_complete() const { return complete_; }  // the line is terminated
  bool is_too_long() const { return too_long_; }  // text() is only the beginning of the line

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void take(const char* begin, const char* end);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  const size_t limit_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // the unread part of the buffer
  std::string line_;
  int64_t number_ = 0;
  bool complete_ = false, too_long_ = false;
};

}  // namespace mlxk
