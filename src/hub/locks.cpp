#include "hub/locks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

FileLock FileLock::try_lock(const fs::path& path, bool create) {
  FileLock lock;
  // A process removes a lock file while it holds it: the opened file may be gone once it is locked.
  for (int tries = 0; tries < 10; ++tries) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0664);
    if (descriptor < 0) return lock;
    struct stat opened, named;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0 && fstat(descriptor, &opened) == 0) {
      if (lstat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
        lock.descriptor_ = descriptor;
        return lock;
      }
      close(descriptor);
      continue;
    }
    close(descriptor);
    return lock;
  }
  return lock;
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

std::vector<fs::path> lock_files(const fs::path& repo) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(repo.parent_path() / ".locks" / repo.filename(), error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".lock") files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<fs::path> held_locks(const std::vector<fs::path>& files) {
  std::vector<fs::path> held;
  for (const auto& file : files) {
    std::error_code error;
    if (!FileLock::try_lock(file).held() && fs::exists(fs::symlink_status(file, error))) held.push_back(file);
  }
  return held;
}

FileLock wait_for_lock(const fs::path& path, const std::function<bool()>& give_up) {
  for (;;) {
    FileLock lock;
    lock.descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
    if (lock.descriptor_ < 0) {
      throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
    }
    struct stat opened, named;
    if (flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int code = errno;
      if (code != EWOULDBLOCK && code != EACCES && code != EINTR) return {};
      if (give_up()) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    } else if (fstat(lock.descriptor_, &opened) == 0 && lstat(path.c_str(), &named) == 0 &&
               opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
      return lock;
    }
  }
}

}  // namespace mlxk
