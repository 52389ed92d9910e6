#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace mlxk {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a planted FIFO must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error(ErrorKind::io, fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  struct stat info{};
  const bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const auto size = regular ? static_cast<size_t>(info.st_size) : 0;
  void* at = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  const int failure = errno;
  close(fd);
  if (!regular) throw Error(ErrorKind::io, fmt::format("cannot open {}: not a regular file", path.string()));
  if (at == MAP_FAILED)
    throw Error(ErrorKind::io, fmt::format("cannot map {}: {}", path.string(), std::strerror(failure)));
  bytes_ = {static_cast<const std::byte*>(at), size};
  guard_ = std::make_unique<PageGuard>(bytes_);
}

MappedFile::~MappedFile() {
  guard_.reset();  // before the addresses may become another mapping's
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto last = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void MappedFile::fetch(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const auto last = reinterpret_cast<uintptr_t>(part.data() + part.size());
#ifdef MADV_POPULATE_READ
  if (first >= last || madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_READ) == 0) return;
  if (errno == EFAULT) return guard_->trip();
#endif
  // Elsewhere, and on Linux before 5.14, by touching every page; the guard records those that cannot be read.
  for (uintptr_t at = first; at < last; at += page) static_cast<void>(*reinterpret_cast<const volatile std::byte*>(at));
}

void MappedFile::check() const {
  if (!guard_ || !guard_->tripped()) return;
  throw Error(ErrorKind::io,
              fmt::format("{} was shortened, or could not be read, while it was in use", path_.string()));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})), guard_(std::move(other.guard_)) {}

}  // namespace mlxk
