#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace mlxk {

constexpr const char* kWeightIndexName = "model.safetensors.index.json";

/// What that file says: which shard holds which tensor.
struct WeightIndex {
  std::map<std::string, std::string> shard_of;  // tensor name → file name within the model's folder
};

/// Reads an index file (linear in its length); a shard's name cannot leave the folder. Throws io, or bad_model naming
/// path, tensor and value.
WeightIndex read_weight_index(const std::filesystem::path& path);

/// The same for the file's text; `place` is named in errors.
WeightIndex parse_weight_index(std::string_view json, std::string_view place);

/// Holds the index to the shards in `dir`: each exists, is valid, and holds exactly the tensors that the index gives
/// it. Throws bad_model naming shard and tensor.
void check_weight_index(const WeightIndex& index, const std::filesystem::path& dir);

}  // namespace mlxk
