#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"
#include "json/json.h"

namespace mlxk {

/// The destination of a GGUF tensor: one row for each, layers unrolled.
struct TensorTarget {
  const GgufTensor* source;
  std::string name;         // the checkpoint key
  int64_t interleaved = 0;  // llama's q and k: heads whose rope halves alternate row by row; 0: rows are not reordered
  float shift = 0;          // added to every element (gemma stores 1 + w)
};

/// A GGUF model of a known architecture, in MLX's terms; everything except weights and tokenizer.
struct GgufModel {
  std::string model_type;
  Json config;                        // without quantization and token ids
  std::vector<TensorTarget> tensors;  // sorted by name
  int64_t vocab_rows = 0;
};

/// Reads architecture, hyper-parameters and tensor names; keys that are not understood are added to `warnings`. Throws
/// unsupported for another architecture or feature, bad_model for a missing, unknown or misshapen tensor, by name.
GgufModel read_gguf_model(const GgufFile& file, std::vector<std::string>& warnings);

/// config.json's rope_scaling for heads of `head_dim`; null if the file has no scaling. Throws unsupported by name.
Json read_gguf_rope_scaling(const GgufFile& file, std::string_view architecture, int64_t head_dim);

}  // namespace mlxk
