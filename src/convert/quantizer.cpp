#include "convert/quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {

namespace {
/// The form of most layers; of equally frequent ones the smallest.
QuantForm commonest(const std::map<std::string, QuantForm>& layers) {
  std::map<QuantForm, size_t> counts;
  for (const auto& [layer, form] : layers) ++counts[form];
  auto best = counts.begin();
  for (auto it = counts.begin(); it != counts.end(); ++it) {
    if (it->second > best->second) best = it;
  }
  return best->first;
}
}  // namespace

Json form_json(const QuantForm& form) {
  return {{"group_size", form.group_size}, {"bits", form.bits}, {"mode", form.mode}};
}

/// "32, 64 or 128"
static std::string one_of(std::vector<int> values) {
  std::sort(values.begin(), values.end());
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < values.size() ? ", " : " or ") + std::to_string(values[i]);
  }
  return text;
}

QuantForm requested_form(int bits, int group_size, const std::string& mode) {
  struct Mode {
    const char* name;
    std::vector<int> bits, groups;  // the default group first
  };
  static const std::vector<Mode> modes = {
      {"affine", {2, 3, 4, 5, 6, 8}, {64, 32, 128}}, {"mxfp4", {4}, {32}}, {"mxfp8", {8}, {32}}, {"nvfp4", {4}, {16}}};
  for (const auto& row : modes) {
    if (mode != row.name) continue;
    const QuantForm form{bits, group_size == 0 ? row.groups.front() : group_size, mode};
    if (std::find(row.bits.begin(), row.bits.end(), form.bits) == row.bits.end()) {
      throw Error(ErrorKind::usage,
                  fmt::format("--quantize must be {} with --q-mode {} (got {})", one_of(row.bits), mode, bits));
    }
    if (std::find(row.groups.begin(), row.groups.end(), form.group_size) == row.groups.end()) {
      throw Error(ErrorKind::usage, fmt::format("--q-group-size must be {} with --q-mode {} (got {})",
                                                one_of(row.groups), mode, group_size));
    }
    return form;
  }
  throw Error(ErrorKind::usage, fmt::format("--q-mode must be affine, mxfp4, mxfp8 or nvfp4 (got {})", mode));
}

std::optional<mx::Dtype> dtype_named(std::string_view name) {
  if (name == "float16") return mx::float16;
  if (name == "bfloat16") return mx::bfloat16;
  if (name == "float32") return mx::float32;
  return std::nullopt;
}

const char* dtype_word(mx::Dtype dtype) {
  if (dtype == mx::float16) return "F16";
  if (dtype == mx::bfloat16) return "BF16";
  return "F32";
}

std::vector<OutputTensor> quantized_outputs(const std::string& layer, std::vector<uint64_t> shape,
                                            const QuantForm& form, mx::Dtype dtype) {
  const uint64_t columns = shape.back();
  shape.back() = columns * static_cast<uint64_t>(form.bits) / 32;
  std::vector<OutputTensor> outputs{{layer + ".weight", "U32", 4, shape}};
  shape.back() = columns / static_cast<uint64_t>(form.group_size);
  if (form.has_biases()) {
    outputs.push_back({layer + ".scales", dtype_word(dtype), dtype.size(), shape});
    outputs.push_back({layer + ".biases", dtype_word(dtype), dtype.size(), shape});
  } else {
    outputs.push_back({layer + ".scales", "U8", 1, shape});
  }
  return outputs;
}

std::vector<std::byte> array_bytes(const mx::array& array) {
  auto whole = mx::contiguous(array);
  mx::eval(whole);
  std::vector<std::byte> bytes(whole.nbytes());
  std::memcpy(bytes.data(), whole.data<char>(), bytes.size());
  return bytes;
}

void write_quantized(SafetensorsWriter& writer, size_t index, uint64_t first_row, const mx::array& weight,
                     const QuantForm& form) {
  const auto parts = mx::quantize(weight, form.group_size, form.bits, form.mode);  // weight, scales, [biases]
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto bytes = array_bytes(parts[i]);
    const uint64_t row_bytes = bytes.size() / static_cast<uint64_t>(weight.shape(0));
    writer.write(index + i, first_row * row_bytes, bytes);
  }
}

Json quantization_config(const std::map<std::string, QuantForm>& layers) {
  const auto base = commonest(layers);
  auto config = form_json(base);
  for (const auto& [layer, form] : layers) {
    if (form != base) config[layer] = form_json(form);
  }
  return config;
}

std::string describe_quantization(const std::map<std::string, QuantForm>& layers) {
  if (layers.empty()) return {};
  const auto form = commonest(layers);
  return fmt::format("{}-bit group {}{}", form.bits, form.group_size, form.mode == "affine" ? "" : " " + form.mode);
}

}  // namespace mlxk
