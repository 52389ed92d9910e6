#pragma once

#include <string>
#include <vector>

#include "tensor_archive/archive_tensor.h"
#include "tensor_archive/zip_file.h"

namespace mlxk {

/// The arrays of an .npz archive (NumPy's and MLX's), named without their ".npy". Throws bad_model naming archive,
/// array and value, unsupported for an element type that weights do not have.
std::vector<ArchiveTensor> read_npz(const ZipFile& archive, TensorBuffers& buffers);

}  // namespace mlxk
