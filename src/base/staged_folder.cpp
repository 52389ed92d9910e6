#include "base/staged_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"

namespace mlxk {

namespace fs = std::filesystem;

namespace {
constexpr size_t kSuffix = 6;  // of mkdtemp

/// The prefix of the hidden names for `target`; cut, since a name has at most 255 bytes.
std::string prefix_for(const fs::path& target) {
  return fmt::format(".{}.mlxk-", target.filename().string().substr(0, 200));
}

Error failure(const char* what, const fs::path& path, int code) {
  const bool denied = code == EACCES || code == EPERM || code == EROFS;
  return {denied ? ErrorKind::denied : ErrorKind::io,
          fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(code))};
}

/// Opens the folder and locks it; -1 when another process holds the lock, or the folder is gone.
int lock_folder(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat locked{}, there{};
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &locked) == 0 && lstat(path.c_str(), &there) == 0 &&
      locked.st_ino == there.st_ino && locked.st_dev == there.st_dev) {
    return fd;
  }
  close(fd);
  return -1;
}

void flush_folder(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);  // not every file system supports locking a folder
  close(fd);
}

void move_new(const fs::path& from, const fs::path& to) {
#ifdef RENAME_NOREPLACE
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw failure("create", to, errno);
#endif
  if (fs::exists(fs::symlink_status(to))) throw failure("create", to, EEXIST);
  if (std::rename(from.c_str(), to.c_str()) != 0) throw failure("create", to, errno);
}
}  // namespace

StagedFolder::StagedFolder(const fs::path& target, Existing existing) : existing_(existing) {
  target_ = fs::absolute(target).lexically_normal();
  if (!target_.has_filename()) target_ = target_.parent_path();
  std::error_code ignored;
  if (fs::is_directory(target_.parent_path(), ignored))
    sweep();  // also the leftovers of a run that was killed at its very end
  if (fs::exists(fs::symlink_status(target_))) {
    if (existing == Existing::refused) {
      throw Error(ErrorKind::invalid, fmt::format("{} exists already", target_.string()));
    }
    if (!fs::is_directory(target_) || !fs::is_empty(target_, ignored)) {
      throw Error(ErrorKind::invalid, fmt::format("{} is not an empty folder", target_.string()));
    }
  }
  if (!fs::is_directory(target_.parent_path(), ignored)) {
    throw Error(ErrorKind::not_found, fmt::format("there is no folder {}", target_.parent_path().string()));
  }
  make_outer();
  inner_ = outer_ / "new";
  if (mkdir(inner_.c_str(), 0755) != 0) throw failure("create", inner_, errno);
}

void StagedFolder::make_outer() {
  for (int tries = 0; tries < 100; ++tries) {
    auto name = (target_.parent_path() / (prefix_for(target_) + "XXXXXX")).string();
    if (!mkdtemp(name.data())) throw failure("create a folder in", target_.parent_path(), errno);
    lock_ = lock_folder(name);
    outer_ = name;
    if (lock_ >= 0) return;
    // Another run removed the folder before it was locked.
  }
  throw Error(ErrorKind::io, fmt::format("cannot lock a new folder in {}", target_.parent_path().string()));
}

void StagedFolder::sweep() const {
  const auto prefix = prefix_for(target_);
  std::error_code ignored;
  for (fs::directory_iterator it(target_.parent_path(), ignored), end; !ignored && it != end; it.increment(ignored)) {
    const auto name = it->path().filename().string();
    if (name.size() != prefix.size() + kSuffix || name.rfind(prefix, 0) != 0) continue;
    const int fd = lock_folder(it->path());
    if (fd < 0) continue;
    std::error_code failed;
    fs::remove_all(it->path(), failed);
    close(fd);
  }
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!outer_.empty()) fs::remove_all(outer_, ignored);
  if (lock_ >= 0) close(lock_);
}

fs::path StagedFolder::scratch() {
  const auto path = outer_ / "scratch";
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) throw failure("create", path, errno);
  return path;
}

void StagedFolder::commit() {
  flush_folder(inner_);
  if (existing_ == Existing::refused) {
    move_new(inner_, target_);
  } else if (std::rename(inner_.c_str(), target_.c_str()) != 0) {  // replaces an empty folder, and nothing else
    throw failure("create", target_, errno);
  }
  flush_folder(target_.parent_path());
}

}  // namespace mlxk
