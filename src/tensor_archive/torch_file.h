#pragma once

#include <vector>

#include "tensor_archive/archive_tensor.h"
#include "tensor_archive/zip_file.h"

namespace mlxk {

/// The tensors of a state dictionary saved by PyTorch 1.6 or newer (.bin, .pth, .pt), also if it is nested under the
/// key state_dict, model_state_dict, model or module. The pickle in it is parsed and never run: a global or opcode that
/// tensors do not need is refused by name. Throws bad_model or unsupported naming archive, tensor and value.
std::vector<ArchiveTensor> read_torch(const ZipFile& archive, TensorBuffers& buffers);

}  // namespace mlxk
