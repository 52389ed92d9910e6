#pragma once

#include <filesystem>
#include <functional>
#include <vector>

namespace mlxk {

/// An flock held until destruction.
class FileLock {
 public:
  FileLock() = default;
  /// Takes the lock of `path`, a file that exists or (with `create`) is made; not held when another has it or the file
  /// cannot be opened.
  static FileLock try_lock(const std::filesystem::path& path, bool create = false);
  FileLock(FileLock&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();
  bool held() const { return descriptor_ >= 0; }

 private:
  friend FileLock wait_for_lock(const std::filesystem::path& path, const std::function<bool()>& give_up);
  int descriptor_ = -1;
};

/// The lock files that downloads of the repository folder `repo` use (.locks/<its name>/*.lock beside it), sorted. That
/// one exists means nothing: it is a lock while a process holds its flock.
std::vector<std::filesystem::path> lock_files(const std::filesystem::path& repo);

/// What of `files` another process holds now.
std::vector<std::filesystem::path> held_locks(const std::vector<std::filesystem::path>& files);

/// Takes the lock of `path`, which is made, waiting for whoever has it; asks `give_up` meanwhile, and is not held when
/// that says so. Throws io when the file cannot be made. Where the file system knows no flock it is not held either, at
/// once.
FileLock wait_for_lock(const std::filesystem::path& path, const std::function<bool()>& give_up);

}  // namespace mlxk
