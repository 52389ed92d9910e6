#include "probe/weight_set.h"

#include <set>

#include "base/error.h"
#include "probe/weight_index.h"

namespace mlxk {

namespace {

// How weight files are called, the first kind that there is: MLX's examples (Whisper) have the last two.
constexpr std::pair<const char*, const char*> kWeightNames[] = {
    {"model", ".safetensors"}, {"weights", ".safetensors"}, {"weights", ".npz"}};

std::vector<const ModelFile*> indexed(const ModelFiles& files) {
  std::set<std::string> shards;
  try {
    for (const auto& [tensor, shard] : read_weight_index(files.folder() / kWeightIndexName).shard_of) {
      shards.insert(shard);
    }
  } catch (const Error&) {
    return {};  // health reports the error
  }
  std::vector<const ModelFile*> found;
  for (const auto& shard : shards) {
    if (const ModelFile* file = files.find(shard)) found.push_back(file);
  }
  return found;
}

}  // namespace

std::vector<const ModelFile*> weight_set(const ModelFiles& files) {
  if (files.has(kWeightIndexName)) {
    if (auto found = indexed(files); !found.empty()) return found;
  }
  std::vector<const ModelFile*> found;
  for (const auto& [stem, extension] : kWeightNames) {
    for (const auto& file : files.all()) {
      if (file.top_level() && file.path.starts_with(stem) && has_extension(file, extension)) found.push_back(&file);
    }
    if (!found.empty()) break;
  }
  return found;
}

}  // namespace mlxk
