#pragma once

#include <filesystem>

namespace mlxk {

/// A folder that comes to be whole or not at all: it is built beside its target, under a hidden name and one level
/// down, so that nobody takes it for the thing itself, and renamed at the end. Destroyed before that, it is removed.
class StagedFolder {
 public:
  enum class Existing { refused, empty_allowed };

  /// Makes the folder to fill, and removes what killed runs for the same target left. Throws invalid when the target
  /// exists (or is not empty), not_found without a folder around it, denied or io when that cannot be written to.
  explicit StagedFolder(const std::filesystem::path& target, Existing existing = Existing::refused);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  /// Where to write.
  const std::filesystem::path& path() const { return inner_; }
  /// A folder of scratch files beside it, which goes with it; made at the first call.
  std::filesystem::path scratch();
  /// Puts the folder in its place, durably; throws invalid when something came there meanwhile, io.
  void commit();

 private:
  void make_outer();
  void sweep() const;

  std::filesystem::path target_, outer_, inner_;
  Existing existing_;
  int lock_ = -1;  // a held flock says that the outer folder is in use
};

}  // namespace mlxk
