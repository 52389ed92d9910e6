#pragma once

#include <filesystem>

namespace mlxk {

/// A folder that appears complete or not at all: it is built beside its target, under a hidden name and one level down,
/// so that nobody mistakes it for the result, and renamed at the end. Destroying it before that removes the folder.
class StagedFolder {
 public:
  enum class Existing { refused, empty_allowed };

  /// Makes the folder to fill, and removes the leftovers of killed runs for the same target. Throws invalid when the
  /// target exists (or is not empty), not_found without a parent folder, denied or io when that is not writable.
  explicit StagedFolder(const std::filesystem::path& target, Existing existing = Existing::refused);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  /// The folder to write to.
  const std::filesystem::path& path() const { return inner_; }
  /// A folder for scratch files beside path(), removed with it; made at the first call.
  std::filesystem::path scratch();
  /// Moves the folder to its target, durably; throws io, and invalid when the target appeared meanwhile.
  void commit();

 private:
  void make_outer();
  void sweep() const;

  std::filesystem::path target_, outer_, inner_;
  Existing existing_;
  int lock_ = -1;  // holds a flock while the outer folder is in use
};

}  // namespace mlxk
