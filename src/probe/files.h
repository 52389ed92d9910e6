#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// One regular file below a model's folder.
struct ModelFile {
  std::string path;   // relative to the folder, "/" between components
  uint64_t size = 0;  // of a link's target

  /// Without its folders.
  std::string_view name() const;
  bool top_level() const { return path.find('/') == std::string::npos; }
};

/// The files in a model's folder, listed once: names and sizes, no content. Side files (base/side_file.h) are skipped.
class ModelFiles {
 public:
  /// Walks `folder` without following links to folders; stops at 100,000 files and 64 levels. Broken links are skipped.
  /// Never throws; an unreadable folder is empty.
  explicit ModelFiles(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  /// Sorted by path.
  const std::vector<ModelFile>& all() const { return files_; }
  /// The file with that relative path; null if there is none.
  const ModelFile* find(std::string_view path) const;
  bool has(std::string_view path) const { return find(path) != nullptr; }
  /// Whether a file of that name exists in any folder.
  bool has_anywhere(std::string_view name) const;
  uint64_t total_bytes() const;
  /// Whether a file has the name of an unfinished download ("x.partial", or "x.tmp" without an x).
  bool has_unfinished() const { return unfinished_; }

 private:
  std::filesystem::path folder_;
  std::vector<ModelFile> files_;
  bool unfinished_ = false;
};

/// Weights by their name: *.safetensors, *.bin, *.gguf.
bool is_weight_file(const ModelFile& file);

bool has_extension(const ModelFile& file, std::string_view extension);

}  // namespace mlxk
