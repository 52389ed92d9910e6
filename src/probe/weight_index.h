#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace mlxk {

constexpr const char* kWeightIndexName = "model.safetensors.index.json";

/// The content of an index file: the shard of each tensor.
struct WeightIndex {
  std::map<std::string, std::string> shard_of;  // tensor name → file name within the model's folder
};

/// Reads an index file (linear in its length); a shard's name cannot leave the folder. Throws io, or bad_model naming
/// path, tensor and value.
WeightIndex read_weight_index(const std::filesystem::path& path);

/// Parses the text of an index file; errors name `place`.
WeightIndex parse_weight_index(std::string_view json, std::string_view place);

/// Checks the index against the shards in `dir`: each exists, is valid, and holds exactly its tensors in the index.
/// Throws bad_model naming shard and tensor.
void check_weight_index(const WeightIndex& index, const std::filesystem::path& dir);

}  // namespace mlxk
