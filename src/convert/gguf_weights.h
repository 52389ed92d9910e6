#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "convert/gguf_arch.h"
#include "convert/quantizer.h"
#include "worker/backend.h"

namespace mlxk {

struct GgufWeightsResult {
  mx::Dtype dtype;                          // of everything that is not packed
  std::map<std::string, QuantForm> layers;  // packed ones, by path
  Json quantization;                        // config.json's; null: nothing is packed
};

/// Writes the model's weights into `folder`, tensor by tensor and in pieces of rows: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0
/// become affine groups of 32 exactly, Q4_K and Q5_K with scales rounded to float16; other blocks are dequantised and
/// quantised again, with a warning. With options that quantise or dequantise, every matrix is converted that way
/// instead. On the worker thread.
GgufWeightsResult write_gguf_weights(const GgufModel& model, const ConvertOptions& options,
                                     const std::filesystem::path& folder, const ProgressSink& progress,
                                     std::vector<std::string>& warnings);

}  // namespace mlxk
