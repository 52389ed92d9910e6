#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mlxk {

inline constexpr double kBytesPerGb = 1024.0 * 1024 * 1024, kBytesPerMb = 1024.0 * 1024;

/// The content of a small file of /proc or /sys; empty when it cannot be read.
std::string read_proc_file(const std::filesystem::path& path);

/// The number behind `key` at the beginning of a line or after a blank ("MemTotal:", "avg10="); NaN when there is none.
double proc_field(std::string_view text, std::string_view key);

/// A file of /proc that is read again and again through one descriptor.
class ProcFile {
 public:
  explicit ProcFile(const std::filesystem::path& path);
  ~ProcFile();
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;
  bool is_open() const { return fd_ >= 0; }
  /// Its content now; empty when it cannot be read.
  std::string read() const;

 private:
  int fd_;
};

}  // namespace mlxk
