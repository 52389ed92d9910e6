#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

struct ConvertOptions {
  std::filesystem::path source;  // a .gguf, .bin, .pth or .npz file, or a folder of such or of safetensors
  std::filesystem::path target;  // must not exist
  int quantize_bits = 0;         // 0: unchanged, unless a recipe is given
  int group_size = 0;            // 0: the default of the mode
  std::string mode = "affine";
  std::string recipe;  // mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6, instead of quantize_bits
  bool dequantize = false;
  std::string dtype;        // float16, bfloat16 or float32 for unpacked tensors; empty: config.json's torch_dtype
  std::string source_repo;  // org/name if known; goes into the model card
  uint64_t max_shard_bytes = uint64_t{5} << 30;
  bool check_health = true;
  bool check_drift = false;
  double max_kl = std::numeric_limits<double>::infinity();  // a larger mean drift is refused
  double min_cosine = -1;                                   // for encoders; a result with a smaller one is refused
  /// Returns the tokens of the text that the drift is measured on, by the tokenizer in `folder`. On the worker thread.
  std::function<std::vector<int32_t>(const std::filesystem::path& folder)> drift_tokens;
  /// The same for encoders: the tokens of several texts.
  std::function<std::vector<std::vector<int32_t>>(const std::filesystem::path& folder)> drift_texts;
};
/// The distance of a conversion's logits from those of its source, over the positions of a text.
struct Drift {
  int64_t tokens = 0;
  double mean_kl = 0, max_kl = 0;  // nats, of the source's distribution relative to the result's
  double top1_agreement = 0;       // share of positions whose likeliest token is the same
};
/// The cosine between a conversion's vectors and its source's, over several texts.
struct VectorDrift {
  int64_t texts = 0;
  double mean_cosine = 1, min_cosine = 1;
};
struct ConvertReport {
  std::string model_type;
  std::string quantization;  // "4-bit group 32", or empty
  std::vector<std::string> warnings;
  std::string mode;           // quantize, dequantize, gguf or convert
  std::string health_reason;  // if the health was checked
  std::optional<Drift> drift;
  std::optional<VectorDrift> vector_drift;  // for an encoder
};

}  // namespace mlxk
