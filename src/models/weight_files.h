#pragma once

#include <filesystem>
#include <vector>

#include "nn/weights.h"

namespace mlxk {

/// The weight files of the model in `dir`: those that model.safetensors.index.json names, or every model*.safetensors.
/// Throws bad_model when the index names a path outside the folder, not_found when there is none.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& dir);

/// Lazy tensors of all files, each header validated before libmlx reads it; throws bad_model for a name that occurs
/// twice.
Weights::Tensors load_tensors(const std::vector<std::filesystem::path>& files);

}  // namespace mlxk
