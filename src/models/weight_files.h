#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/mapped_file.h"
#include "nn/weights.h"

namespace mlxk {

/// The weight files of the model in `dir` (weight_set()). Throws bad_model if the index names a path outside the folder
/// or does not match its shards, not_found if there is none.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& dir);

struct WeightFiles {
  Weights::Tensors tensors;
  std::vector<std::shared_ptr<const MappedFile>> mapped;  // the buffers of the tensors; empty on a GPU
};

/// The tensors of all files, after validating each header. On the CPU they are used in place in the file, even at
/// addresses that are not multiples of an element's size. Throws bad_model for a name that occurs twice.
WeightFiles open_weights(const std::vector<std::filesystem::path>& files);

/// The tensors of a file that PyTorch saved (.pt), copied into memory. Throws like read_torch.
Weights::Tensors read_torch_weights(const std::filesystem::path& file);

}  // namespace mlxk
