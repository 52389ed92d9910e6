#include "probe/files.h"

#include <algorithm>

#include "base/file.h"
#include "base/side_file.h"

namespace mlxk {

namespace {
constexpr size_t kMaxFiles = 100'000;

/// Whether a file's name is that of an unfinished download. A temporary copy beside the complete file is not one.
bool is_unfinished(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.starts_with("._")) return false;
  if (name.find("partial") != name.npos) return true;
  std::error_code error;
  return path.extension() == ".tmp" && !fs::exists(fs::path(path).replace_extension(), error);
}
}  // namespace

std::string_view ModelFile::name() const {
  const size_t slash = path.rfind('/');
  return std::string_view(path).substr(slash == std::string::npos ? 0 : slash + 1);
}

ModelFiles::ModelFiles(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  fs::recursive_directory_iterator it(folder_, fs::directory_options::skip_permission_denied, error);
  for (const fs::recursive_directory_iterator end; !error && it != end && files_.size() < kMaxFiles;
       it.increment(error)) {
    std::error_code entry_error;
    const std::string name = it->path().filename().string();
    const bool regular = it->is_regular_file(entry_error);
    if (regular) unfinished_ = unfinished_ || is_unfinished(it->path());
    if (is_side_file(name) || !regular) {
      // The cache and version control of a workspace are not part of the model.
      const bool skipped = is_side_file(name) || name == ".git" || name == ".hf_cache" || it.depth() + 1 >= kMaxNesting;
      if (!regular && skipped) it.disable_recursion_pending();
      continue;
    }
    const uint64_t size = it->file_size(entry_error);
    if (!entry_error) files_.push_back({it->path().lexically_relative(folder_).generic_string(), size});
  }
  std::sort(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
}

const ModelFile* ModelFiles::find(std::string_view path) const {
  const auto it = std::lower_bound(files_.begin(), files_.end(), path,
                                   [](const ModelFile& file, std::string_view wanted) { return file.path < wanted; });
  return it != files_.end() && it->path == path ? &*it : nullptr;
}

bool ModelFiles::has_anywhere(std::string_view name) const {
  return std::any_of(files_.begin(), files_.end(), [&](const ModelFile& file) { return file.name() == name; });
}

uint64_t ModelFiles::total_bytes() const {
  uint64_t total = 0;
  for (const auto& file : files_) total += file.size;
  return total;
}

bool has_extension(const ModelFile& file, std::string_view extension) {
  return file.path.size() > extension.size() &&
         std::string_view(file.path).substr(file.path.size() - extension.size()) == extension;
}

bool is_weight_file(const ModelFile& file) {
  return has_extension(file, ".safetensors") || has_extension(file, ".bin") || has_extension(file, ".gguf");
}

}  // namespace mlxk
