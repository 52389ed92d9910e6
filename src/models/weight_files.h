#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/mapped_file.h"
#include "nn/weights.h"

namespace mlxk {

/// The weight files of the model in `dir` (weight_set()). Throws bad_model when the index names a path outside the
/// folder or does not fit its shards, not_found when there is none.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& dir);

struct WeightFiles {
  Weights::Tensors tensors;
  std::vector<std::shared_ptr<const MappedFile>>
      mapped;  // what the tensors lie in; on a GPU empty, they are lazy there
};

/// The tensors of all files, each header validated first. On the CPU they are used where they lie in the file, also
/// where that is no multiple of an element's size. Throws bad_model for a name that occurs twice.
WeightFiles open_weights(const std::vector<std::filesystem::path>& files);

/// The tensors of a file that PyTorch saved (.pt), copied into memory. Throws as read_torch.
Weights::Tensors read_torch_weights(const std::filesystem::path& file);

}  // namespace mlxk
