#pragma once

#include <vector>

#include "probe/files.h"

namespace mlxk {

/// The weight files of a model that are loaded, sorted: the shards that model.safetensors.index.json names, or every
/// model*.safetensors at the top of the folder, or else weights*.safetensors, or weights*.npz. Other files
/// (consolidated*.safetensors, pytorch_model*.bin, *.gguf: mostly the same weights again) do not count. Missing shards
/// are skipped; empty if there is nothing to load. Never throws.
std::vector<const ModelFile*> weight_set(const ModelFiles& files);

}  // namespace mlxk
