#include "monitor/proc_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "monitor/memory_sample.h"

namespace mlxk {

std::string read_proc_file(const std::filesystem::path& path) { return ProcFile(path).read(); }

double proc_field(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    if (at > 0 && text[at - 1] != '\n' && text[at - 1] != ' ') continue;
    const size_t first = text.find_first_not_of(" \t", at + key.size());
    if (first == text.npos) return kUnknown;
    const std::string number(text.substr(first, 32));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    return end == number.c_str() ? kUnknown : value;  // "max"
  }
  return kUnknown;
}

ProcFile::ProcFile(const std::filesystem::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}

ProcFile::~ProcFile() {
  if (fd_ >= 0) close(fd_);
}

std::string ProcFile::read() const {
  std::string text;
  char buffer[4096];
  while (fd_ >= 0) {
    const ssize_t got = pread(fd_, buffer, sizeof buffer, static_cast<off_t>(text.size()));
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

}  // namespace mlxk
