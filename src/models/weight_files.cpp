#include "models/weight_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "mlx/io.h"
#include "probe/safetensors_header.h"
#include "probe/weight_index.h"

namespace mlxk {

namespace fs = std::filesystem;

std::vector<fs::path> weight_files(const fs::path& dir) {
  std::vector<fs::path> files;
  fs::path index_path = dir / "model.safetensors.index.json";
  if (fs::exists(index_path)) {
    WeightIndex index = read_weight_index(index_path);
    check_weight_index(index, dir);
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : index.shard_of) shards.insert(shard);
    for (const auto& shard : shards) files.push_back(dir / shard);
  } else {
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(dir, failed)) {
      std::string name = entry.path().filename().string();
      if (name.rfind("model", 0) == 0 && entry.path().extension() == ".safetensors") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
  }
  if (files.empty()) {
    throw Error(ErrorKind::not_found, fmt::format("[weights] no model*.safetensors in {}", dir.string()));
  }
  return files;
}

Weights::Tensors load_tensors(const std::vector<fs::path>& files) {
  Weights::Tensors tensors;
  for (const auto& file : files) {
    read_safetensors_header(file);
    for (auto& [name, tensor] : mx::load_safetensors(file.string()).first) {
      if (!tensors.emplace(name, tensor).second) {
        throw Error(ErrorKind::bad_model,
                    fmt::format("[weights] {} is in more than one file, again in {}", name, file.filename().string()));
      }
    }
  }
  return tensors;
}

}  // namespace mlxk
