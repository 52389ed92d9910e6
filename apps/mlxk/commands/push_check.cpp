#include "commands/push_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"

namespace mlxk {

namespace {

constexpr std::string_view kPointer = "version https://git-lfs.github.com/spec/v1";

struct File {
  std::string path, name;
  uint64_t size;
};

std::vector<File> files_of(const fs::path& folder) {
  std::vector<File> files;
  for (fs::recursive_directory_iterator it(folder), end; it != end; ++it) {
    check_nesting(it);
    std::error_code error;
    if (!it->is_regular_file(error)) continue;
    files.push_back(
        {it->path().lexically_relative(folder).generic_string(), it->path().filename().string(), it->file_size(error)});
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.path < b.path; });
  return files;
}

bool is_weights(const File& file) {
  if (is_side_file(file.name)) return false;
  return file.name.ends_with(".safetensors") || file.name.ends_with(".gguf") || file.name == "pytorch_model.bin";
}

bool is_pointer(const fs::path& folder, const File& file) {
  return file.size > 0 && file.size <= 200 && read_file(folder / file.path, 200).find(kPointer) != std::string::npos;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

class PushCheck {
 public:
  explicit PushCheck(const fs::path& folder) : folder_(folder), files_(files_of(folder)) {}

  Json result() {
    const Json config = check_config();
    const Json weights = check_weights();
    for (const auto& file : files_) {
      const std::string name = lower(file.name);
      if (name.find("partial") == name.npos && !name.ends_with(".tmp")) continue;
      anomalies_.push_back({{"severity", "warn"},
                            {"code", "partial_marker"},
                            {"message", "Partial/tmp marker: " + file.name},
                            {"path", file.path}});
    }
    uint64_t bytes = 0;
    for (const auto& file : files_) bytes += file.size;
    return {{"files_count", files_.size()}, {"total_bytes", bytes},    {"config", config},
            {"weights", weights},           {"anomalies", anomalies_}, {"healthy", healthy_}};
  }

 private:
  void error(const char* code, const std::string& message, const std::string& path = {}) {
    healthy_ = false;
    Json anomaly = {{"severity", "error"}, {"code", code}, {"message", message}};
    if (!path.empty()) anomaly["path"] = path;
    anomalies_.push_back(std::move(anomaly));
  }

  Json check_config() {
    const fs::path path = folder_ / "config.json";
    const bool there = has("config.json");
    bool valid = false;
    try {
      const Json config = there ? read_json(path) : Json();
      valid = config.is_object() && !config.empty();
    } catch (const Error&) {
      // not valid
    }
    if (!there) {
      error("config_missing", "config.json not found");
    } else if (!valid) {
      error("config_invalid_json", "config.json invalid or empty");
    }
    return {{"exists", there}, {"valid_json", valid}, {"path", there ? Json(path.string()) : Json()}};
  }

  Json check_weights() {
    std::set<std::string> formats;
    size_t count = 0;
    for (const auto& file : files_) {
      if (!is_weights(file)) continue;
      ++count;
      formats.insert(fs::path(file.name).extension().string().substr(1));
      if (file.size == 0) {
        error("empty_weight_file", "Empty file: " + file.name, file.path);
      } else if (is_pointer(folder_, file)) {
        error("lfs_pointer_detected", "LFS pointer: " + file.name, file.path);
      }
    }
    if (count == 0) error("no_weights_found", "No weights (*.gguf/*.safetensors/pytorch_model.bin)");
    return {{"count", count}, {"formats", formats}, {"index", check_index()}, {"pattern_complete", pattern_complete()}};
  }

  Json check_index() {
    Json missing = Json::array();
    const auto index = std::find_if(files_.begin(), files_.end(), [](const File& file) {
      return file.name.ends_with(".safetensors.index.json") && !is_side_file(file.name);
    });
    if (index == files_.end()) return {{"has_index", false}, {"missing", missing}};
    std::set<std::string> shards;
    try {
      const Json document = read_json(folder_ / index->path);
      for (const auto& [tensor, shard] : document.at("weight_map").items()) shards.insert(shard.get<std::string>());
    } catch (const std::exception&) {
      error("index_parse_error", "model.safetensors.index.json parse error");
      return {{"has_index", true}, {"missing", missing}, {"parse_error", true}};
    }
    for (const auto& shard : shards) {
      const auto file = std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.path == shard; });
      if (file == files_.end() || file->size == 0 || is_pointer(folder_, *file)) missing.push_back(shard);
    }
    if (!missing.empty()) error("index_missing_shard", fmt::format("Missing/invalid shards: {}", missing.size()));
    return {{"has_index", true}, {"missing", missing}};
  }

  /// Whether all of model-00001-of-0000N.safetensors are there; null if no name has this form.
  Json pattern_complete() const {
    std::set<std::string> present;
    unsigned long total = 0;
    for (const auto& file : files_) {
      const std::string& name = file.name;
      if (name.size() != 32 || !name.starts_with("model-") || name.substr(11, 4) != "-of-" ||
          !name.ends_with(".safetensors"))
        continue;
      present.insert(name.substr(6, 5));
      total = std::max(total, std::strtoul(name.substr(15, 5).c_str(), nullptr, 10));
    }
    return present.empty() ? Json() : Json(present.size() == total);
  }

  bool has(const std::string& path) const {
    return std::any_of(files_.begin(), files_.end(), [&](const File& file) { return file.path == path; });
  }

  fs::path folder_;
  std::vector<File> files_;
  Json anomalies_ = Json::array();
  bool healthy_ = true;
};

}  // namespace

Json workspace_health(const fs::path& folder) { return PushCheck(folder).result(); }

}  // namespace mlxk
