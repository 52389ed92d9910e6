#include "convert/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "convert/convert_folder.h"
#include "convert/convert_gguf.h"
#include "hub/content_hash.h"
#include "hub/workspace.h"

namespace mlxk {

namespace {
/// A folder that is removed again unless it was moved to its place.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& target) {
    auto name = (target.parent_path() / fmt::format(".{}.tmp-XXXXXX", target.filename().string())).string();
    if (!mkdtemp(name.data())) {
      throw Error(ErrorKind::io,
                  fmt::format("cannot create a folder in {}: {}", target.parent_path().string(), std::strerror(errno)));
    }
    path_ = name;
    fs::permissions(path_, fs::perms(0755));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

  void move_to(const fs::path& target) {
    std::error_code failure;
    fs::rename(path_, target, failure);
    if (failure) throw Error(ErrorKind::io, fmt::format("cannot create {}: {}", target.string(), failure.message()));
    path_.clear();
  }

 private:
  fs::path path_;
};

/// The .gguf file that `source` is or holds; empty for a folder with a model in safetensors.
fs::path find_gguf(const fs::path& source) {
  if (!fs::is_directory(source)) return source;
  if (is_workspace(source)) return {};
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(source)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  if (found.size() > 1) {
    throw Error(ErrorKind::ambiguous, fmt::format("{} holds {} GGUF files", source.string(), found.size()),
                fmt::format("name one: {}", found.front().string()));
  }
  if (found.empty())
    throw Error(ErrorKind::not_found, fmt::format("{} holds neither config.json nor a GGUF file", source.string()));
  return found.front();
}

Json sentinel(const ConvertOptions& options, const Json& config, const char* mode) {
  Json json = {{"mlxk_version", MLXK_VERSION},
               {"created_at", utc_now()},
               {"source_repo", options.source.string()},
               {"source_revision", nullptr},
               {"managed", true},
               {"operation", "convert"},
               {"mode", mode}};
  const auto quantization = config.find("quantization");
  if (quantization != config.end()) {
    json["quantization"] = {{"bits", quantization->at("bits")}, {"group_size", quantization->at("group_size")}};
  }
  return json;
}
}  // namespace

ConvertReport convert_model(const ConvertOptions& options, const ProgressSink& progress) {
  if (!fs::exists(options.source))
    throw Error(ErrorKind::not_found, fmt::format("{} does not exist", options.source.string()));
  const auto target = fs::absolute(options.target).lexically_normal();
  if (fs::exists(fs::symlink_status(target)))
    throw Error(ErrorKind::invalid, fmt::format("{} exists already", target.string()));
  if (!fs::is_directory(target.parent_path())) {
    throw Error(ErrorKind::not_found, fmt::format("there is no folder {}", target.parent_path().string()));
  }
  const auto gguf = find_gguf(options.source);
  TemporaryFolder folder(target);
  auto report = gguf.empty() ? convert_folder(options.source, options, folder.path(), progress)
                             : convert_gguf(gguf, options, folder.path(), progress);
  const auto config = read_json(folder.path() / "config.json");
  write_sentinel(folder.path(), sentinel(options, config, gguf.empty() ? "quantize" : "gguf"));
  recalculate_content_hash(folder.path());
  folder.move_to(target);
  return report;
}

}  // namespace mlxk
