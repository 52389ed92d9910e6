#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "json/json.h"
#include "probe/safetensors_header.h"
#include "probe/weight_index.h"
#include "repair/rules.h"

namespace mlxk {

namespace {
constexpr const char* kIndex = kWeightIndexName;

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> shards;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" && name.front() != '.' && !is_side_file(name)) {
      shards.push_back(entry.path());
    }
  }
  // Beside model*.safetensors, other files (consolidated*.safetensors) hold the same tensors again.
  const auto is_model = [](const fs::path& shard) { return shard.filename().string().starts_with("model"); };
  if (std::any_of(shards.begin(), shards.end(), is_model)) std::erase_if(shards, std::not_fn(is_model));
  std::sort(shards.begin(), shards.end());
  return shards;
}

/// The problem with the index; empty: none.
std::string problem_with(const fs::path& folder, size_t shards) {
  std::error_code failed;
  if (!fs::exists(folder / kIndex, failed)) return shards > 1 ? "missing, the model has several shards" : "";
  try {
    check_weight_index(read_weight_index(folder / kIndex), folder);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

void write_index(const fs::path& folder, const std::vector<fs::path>& shards) {
  std::map<std::string, std::string> shard_of;
  uint64_t total = 0;
  for (const auto& shard : shards) {
    total += fs::file_size(shard);
    for (const auto& tensor : read_safetensors_header(shard).tensors) {
      const auto [placed, fresh] = shard_of.emplace(tensor.name, shard.filename().string());
      if (!fresh) {
        throw Error(ErrorKind::bad_model, fmt::format("[repair] tensor {} is in {} and in {}", tensor.name,
                                                      placed->second, shard.filename().string()));
      }
    }
  }
  std::string text = fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total);
  const char* comma = "";
  for (const auto& [tensor, shard] : shard_of) {
    text += fmt::format("{}\n    {}: {}", comma, Json(tensor).dump(), Json(shard).dump());
    comma = ",";
  }
  write_file_atomic(folder / kIndex, text + "\n  }\n}\n");
}
}  // namespace

bool rebuild_index(const fs::path& folder, std::vector<Finding>& findings) {
  const auto shards = shards_in(folder);
  const auto problem = problem_with(folder, shards.size());
  std::error_code ignored;
  fs::remove(folder / kIndex, ignored);
  if (shards.size() > 1) write_index(folder, shards);
  if (!problem.empty()) {
    findings.push_back({kIndex, problem,
                        shards.size() > 1 ? fmt::format("written from the headers of {} files", shards.size())
                                          : "removed: one file needs no index"});
  }
  return shards.size() > 1;
}

void repair_index(const fs::path& folder, std::vector<Finding>& findings) {
  if (!problem_with(folder, shards_in(folder).size()).empty()) rebuild_index(folder, findings);
}

}  // namespace mlxk
