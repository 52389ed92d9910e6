#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// A part of a file and the array of as many bytes that it becomes.
struct CudaUpload {
  uint64_t offset;
  mx::Shape shape;
  mx::Dtype type;
};

/// Arrays with those bytes of the file, in the card's memory: several threads read the file into pinned memory while
/// earlier parts are copied to the card. Throws io if the file cannot be read or is too short, memory if the card is
/// full.
std::vector<mx::array> cuda_upload(const std::filesystem::path& file, const std::vector<CudaUpload>& uploads);

}  // namespace mlxk
