#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mlxk {

inline constexpr double kBytesPerGb = 1024.0 * 1024 * 1024, kBytesPerMb = 1024.0 * 1024;

/// The content of a small file of /proc or /sys; empty if it cannot be read.
std::string read_proc_file(const std::filesystem::path& path);

/// The number after `key` ("MemTotal:", "avg10="), which begins a line or follows a blank; NaN if there is none.
double proc_field(std::string_view text, std::string_view key);

/// A file of /proc that is read repeatedly through one descriptor.
class ProcFile {
 public:
  explicit ProcFile(const std::filesystem::path& path);
  ~ProcFile();
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;
  bool is_open() const { return fd_ >= 0; }
  /// The current content; empty if it cannot be read.
  std::string read() const;

 private:
  int fd_;
};

}  // namespace mlxk
