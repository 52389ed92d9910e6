#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/safetensors_writer.h"
#include "json/json.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// How a weight is packed.
struct QuantForm {
  int bits = 4;
  int group_size = 64;
  std::string mode = "affine";

  bool has_biases() const { return mode == "affine"; }
  auto operator<=>(const QuantForm&) const = default;
};

/// The form for --quantize, with the mode's own group size if none is given; throws usage naming the value.
QuantForm requested_form(int bits, int group_size, const std::string& mode);

/// `X.weight`, `X.scales` and, if the mode has them, `X.biases` of a weight of `shape`, in this order; affine scales
/// are of `dtype`.
std::vector<OutputTensor> quantized_outputs(const std::string& layer, std::vector<uint64_t> shape,
                                            const QuantForm& form, mx::Dtype dtype);

/// Quantises `weight` [rows, columns] and writes it as rows from `first_row` of the tensors that start at `index`.
/// Evaluates on the calling thread.
void write_quantized(SafetensorsWriter& writer, size_t index, uint64_t first_row, const mx::array& weight,
                     const QuantForm& form);

/// A form as written in config.json.
Json form_json(const QuantForm& form);

/// float16, bfloat16 or float32 by name; none for another.
std::optional<mx::Dtype> dtype_named(std::string_view name);

/// The format's word for a float type, e.g. "BF16".
const char* dtype_word(mx::Dtype dtype);

/// Evaluates `array` and returns its bytes, row by row.
std::vector<std::byte> array_bytes(const mx::array& array);

/// config.json's `quantization`: the most frequent form, and an entry for each layer that has another.
Json quantization_config(const std::map<std::string, QuantForm>& layers);

/// The most frequent form of the layers for display: "4-bit group 32"; empty without layers.
std::string describe_quantization(const std::map<std::string, QuantForm>& layers);

}  // namespace mlxk
