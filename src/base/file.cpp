#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace mlxk {

namespace {
[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw Error(ErrorKind::io, fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};
}  // namespace

std::string read_file(const fs::path& path, uint64_t limit) {
  // O_NONBLOCK: opening a planted FIFO must not hang.
  const Descriptor fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info{};
  if (fd.value < 0 || fstat(fd.value, &info) != 0) fail("cannot read", path);
  if (!S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::io, fmt::format("cannot read {}: not a regular file", path.string()));
  }
  if (static_cast<uint64_t>(info.st_size) > limit) {
    throw Error(ErrorKind::bad_model,
                fmt::format("{} is {} bytes long; at most {} are read", path.string(), info.st_size, limit));
  }
  std::string content(static_cast<size_t>(info.st_size), '\0');
  size_t at = 0;
  while (at < content.size()) {
    const ssize_t n = read(fd.value, content.data() + at, content.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot read", path);
    if (n == 0) break;  // shortened meanwhile
    at += static_cast<size_t>(n);
  }
  content.resize(at);
  return content;
}

std::string read_stream(std::istream& in, uint64_t limit) {
  std::string content;
  char piece[1 << 16];
  while (content.size() <= limit && (in.read(piece, sizeof piece), in.gcount() > 0)) {
    content.append(piece, static_cast<size_t>(in.gcount()));
  }
  return content;
}

void check_nesting(const fs::recursive_directory_iterator& it) {
  if (it.depth() < kMaxNesting) return;
  throw Error(ErrorKind::bad_model, fmt::format("{} is {} folders deep; at most {} are searched", it->path().string(),
                                                it.depth(), kMaxNesting));
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  std::string temporary = path.string() + ".tmp.XXXXXX";
  Descriptor fd{mkstemp(temporary.data())};
  if (fd.value < 0) fail("cannot write", path);
  fchmod(fd.value, 0644);
  while (!content.empty()) {
    const ssize_t n = write(fd.value, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      unlink(temporary.c_str());
      fail("cannot write", path);
    }
    content.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd.value) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) {
    unlink(temporary.c_str());
    fail("cannot write", path);
  }
}

}  // namespace mlxk
