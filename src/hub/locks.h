#pragma once

#include <filesystem>
#include <functional>
#include <vector>

namespace mlxk {

/// An flock held until destruction.
class FileLock {
 public:
  FileLock() = default;
  /// Takes the lock of the file `path`, which `create` makes if absent; the result is not held if another process has
  /// the lock or the file cannot be opened.
  static FileLock try_lock(const std::filesystem::path& path, bool create = false);
  FileLock(FileLock&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();
  bool held() const { return descriptor_ >= 0; }

 private:
  friend FileLock wait_for_lock(const std::filesystem::path& path, const std::function<bool()>& give_up);
  int descriptor_ = -1;
};

/// The lock files that downloads of the repository folder `repo` use (.locks/<its name>/*.lock beside it), sorted. A
/// file is a lock only while a process holds its flock.
std::vector<std::filesystem::path> lock_files(const std::filesystem::path& repo);

/// The members of `files` that other processes hold now.
std::vector<std::filesystem::path> held_locks(const std::vector<std::filesystem::path>& files);

/// Makes the file `path` and waits for its lock; the result is not held once `give_up`, called meanwhile, is true, or
/// if the file system does not support flock. Throws io if the file cannot be made.
FileLock wait_for_lock(const std::filesystem::path& path, const std::function<bool()>& give_up);

}  // namespace mlxk
