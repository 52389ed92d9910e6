#include "server/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "server/api_error.h"

namespace mlxk {

namespace {
constexpr size_t kInMemory = 64 << 10;

/// Opens a new unnamed file in the folder for temporary files.
int open_nameless() {
  std::string path = (std::filesystem::temp_directory_path() / "mlxk-upload-XXXXXX").string();
  const int file = mkstemp(path.data());
  if (file < 0) {
    const bool later = errno == EMFILE || errno == ENFILE;
    throw ApiError(later ? ErrorKind::unavailable : ErrorKind::io,
                   fmt::format("cannot store the upload: {}", std::strerror(errno)), "file");
  }
  unlink(path.c_str());
  fcntl(file, F_SETFD, FD_CLOEXEC);
  return file;
}
}  // namespace

bool SpoolRoom::take(uint64_t bytes) {
  const auto wanted = static_cast<int64_t>(bytes);
  if (free_.fetch_sub(wanted) >= wanted) return true;
  free_ += wanted;
  return false;
}

void Spool::append(std::string_view bytes) {
  if (!room_->take(bytes.size())) {
    ApiError error(ErrorKind::unavailable, "Too many uploads at once.", "file", "queue_full");
    error.retry_after_s = 5;
    throw error;
  }
  size_ += bytes.size();
  if (file_ < 0 && memory_.size() + bytes.size() <= kInMemory) {
    memory_.append(bytes);
    return;
  }
  if (file_ < 0) {
    file_ = open_nameless();
    write(std::exchange(memory_, {}));
  }
  write(bytes);
}

void Spool::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const bool full = errno == ENOSPC || errno == EDQUOT;
      throw ApiError(ErrorKind::io, fmt::format("cannot store the upload: {}", std::strerror(errno)), "file", "",
                     full ? 507 : 500);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

std::unique_ptr<ByteSource> Spool::read() const {
  if (file_ < 0) return memory_bytes({reinterpret_cast<const uint8_t*>(memory_.data()), memory_.size()});
  lseek(file_, 0, SEEK_SET);
  return descriptor_bytes(file_, "the upload");
}

void Spool::clear() {
  room_->give_back(std::exchange(size_, 0));
  memory_ = {};
  if (file_ >= 0) close(std::exchange(file_, -1));
}

}  // namespace mlxk
