#include "convert/gguf_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/counted.h"
#include "base/error.h"
#include "convert/recipe.h"
#include "gguf/blocks.h"
#include "mlx/ops.h"

namespace mlxk {

namespace {
constexpr uint64_t kGgufChunkElements = uint64_t{1} << 22;

/// The conversion of a tensor.
enum class Way { cast, repack, requantise };

struct Plan {
  const TensorTarget* target;
  Way way;
  QuantForm form;
  mx::Dtype dtype;  // of the result, or of its scales
  size_t index;     // of its first output tensor
};

bool is_float(GgmlType type) { return type == GgmlType::f32 || type == GgmlType::f16 || type == GgmlType::bf16; }

/// Blocks whose groups of 32 equal MLX's affine groups.
bool is_affine(GgmlType type) {
  switch (type) {
    case GgmlType::q4_0:
    case GgmlType::q4_1:
    case GgmlType::q5_0:
    case GgmlType::q5_1:
    case GgmlType::q8_0:
    case GgmlType::q4_k:
    case GgmlType::q5_k: return true;
    default: return false;
  }
}

/// The affine bits for blocks that must be quantised again; below four bits one more, because both errors add up.
int requantised_bits(GgmlType type) {
  switch (type) {
    case GgmlType::q2_k: return 3;
    case GgmlType::q3_k: return 4;
    case GgmlType::q6_k: return 6;
    default: return 5;  // code books of sixteen values
  }
}

mx::Dtype model_dtype(const GgufModel& model, const ConvertOptions& options, bool forced) {
  if (const auto named = dtype_named(options.dtype)) return *named;
  for (const auto& target : model.tensors) {
    if (target.name != "model.embed_tokens.weight") continue;
    if (target.source->type == GgmlType::bf16) return mx::bfloat16;
    if (target.source->type == GgmlType::f16) return mx::float16;
    if (target.source->type == GgmlType::f32 && !forced) return mx::float32;
  }
  // Gemma's activations exceed float16's range.
  return model.model_type == "gemma3_text" ? mx::bfloat16 : mx::float16;
}

std::string layer_of(const TensorTarget& target) { return target.name.substr(0, target.name.rfind('.')); }

Plan plan_tensor(const TensorTarget& target, const std::optional<QuantRecipe>& forced, const ConvertOptions& options,
                 mx::Dtype dtype) {
  const auto& source = *target.source;
  if (!is_readable(source.type)) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[gguf] tensor {}: {} cannot be converted", source.name, ggml_type_info(source.type).name),
                "F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4 can");
  }
  Plan plan{&target, Way::cast, {}, dtype, 0};
  if (source.shape.size() != 2 || options.dequantize) return plan;
  if (forced) {
    const auto form = forced->of(layer_of(target)).form;
    if (source.columns() % static_cast<uint64_t>(form.group_size) != 0) return plan;
    plan.way = Way::requantise;
    plan.form = form;
  } else if (is_float(source.type)) {
    if (!options.dtype.empty()) return plan;
    if (source.type == GgmlType::f16) plan.dtype = mx::float16;
    if (source.type == GgmlType::bf16) plan.dtype = mx::bfloat16;
  } else if (is_affine(source.type)) {
    plan.way = Way::repack;
    plan.form = {static_cast<int>(ggml_type_info(source.type).bits), 32, "affine"};
    plan.dtype = mx::float16;  // the file's own scales
  } else {
    plan.way = Way::requantise;
    plan.form = {requantised_bits(source.type), source.columns() % 64 == 0 ? 64 : 32, "affine"};
  }
  return plan;
}

/// The packing that `forced` writes into config.json, or the existing forms.
Json quantization_of(const std::map<std::string, QuantForm>& layers, const std::optional<QuantRecipe>& forced) {
  if (layers.empty()) return nullptr;
  if (!forced) return quantization_config(layers);
  auto json = form_json(forced->base());
  for (const auto& [layer, form] : layers) {
    const auto entry = forced->of(layer).entry;
    if (!entry.is_null()) json[layer] = entry;
  }
  return json;
}

/// The source's row for row `row` of the result.
uint64_t source_row(const TensorTarget& target, uint64_t row) {
  if (target.interleaved == 0) return row;
  const uint64_t head = target.source->shape[0] / static_cast<uint64_t>(target.interleaved);
  const uint64_t in_head = row % head, half = head / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

/// Rows [first, first + count) of the result, in the file's format.
std::vector<std::byte> gather_rows(const TensorTarget& target, uint64_t rows, uint64_t first, uint64_t count) {
  const auto data = target.source->data;
  const uint64_t row_bytes = data.size() / rows;
  std::vector<std::byte> out(count * row_bytes);
  for (uint64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * row_bytes, data.data() + source_row(target, first + i) * row_bytes, row_bytes);
  }
  return out;
}

/// Float rows of the result, in float32.
std::vector<float> float_rows(const Plan& plan, uint64_t rows, uint64_t columns, uint64_t first, uint64_t count) {
  const auto& target = *plan.target;
  std::vector<float> values(count * columns);
  dequantize(target.source->type, gather_rows(target, rows, first, count), values);
  const float limit = plan.dtype == mx::float16 ? 65504.0F : std::numeric_limits<float>::max();
  for (auto& value : values) {
    value += target.shift;
    if (!(std::abs(value) <= limit)) {
      throw Error(ErrorKind::bad_model, fmt::format("[gguf] tensor {}: {} does not fit into {}", target.source->name,
                                                    value, dtype_word(plan.dtype)));
    }
  }
  return values;
}

mx::array float_array(const std::vector<float>& values, uint64_t columns, mx::Dtype dtype) {
  const auto shape = mx::Shape{static_cast<int>(values.size() / columns), static_cast<int>(columns)};
  return mx::astype(mx::array(values.data(), shape, mx::float32), dtype);
}

/// Appends 32 integers of `bits` bits in MLX's packing: consecutive, the lowest bit first.
void pack_group(const uint8_t* q, int bits, std::vector<std::byte>& out) {
  uint32_t pending = 0;
  int held = 0;
  for (int i = 0; i < 32; ++i) {
    pending |= uint32_t{q[i]} << held;
    for (held += bits; held >= 8; held -= 8, pending >>= 8) out.push_back(static_cast<std::byte>(pending & 255));
  }
}

mx::float16_t half_scale(const Plan& plan, float value) {
  if (!(std::abs(value) <= 65504.0F)) {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] tensor {}: the scale {} does not fit into float16",
                                                  plan.target->source->name, value));
  }
  return mx::float16_t(value);
}

void repack(SafetensorsWriter& writer, const Plan& plan, uint64_t rows, uint64_t first, uint64_t count) {
  const auto& info = ggml_type_info(plan.target->source->type);
  const auto data = gather_rows(*plan.target, rows, first, count);
  std::vector<std::byte> weight;
  std::vector<mx::float16_t> scales, biases;
  AffineBlock block;
  for (size_t at = 0; at < data.size(); at += info.block_bytes) {
    unpack_block(plan.target->source->type, data.data() + at, block);
    for (uint32_t g = 0; g < info.block_elements / 32; ++g) {
      pack_group(block.q + g * 32, plan.form.bits, weight);
      scales.push_back(half_scale(plan, block.scale[g]));
      biases.push_back(half_scale(plan, block.bias[g]));
    }
  }
  writer.write(plan.index, first * (weight.size() / count), weight);
  writer.write(plan.index + 1, first * (scales.size() / count) * 2, std::as_bytes(std::span(scales)));
  writer.write(plan.index + 2, first * (biases.size() / count) * 2, std::as_bytes(std::span(biases)));
}

void write_rows(SafetensorsWriter& writer, const Plan& plan, uint64_t rows, uint64_t columns, uint64_t first,
                uint64_t count) {
  if (plan.way == Way::repack) return repack(writer, plan, rows, first, count);
  const auto array = float_array(float_rows(plan, rows, columns, first, count), columns, plan.dtype);
  if (plan.way == Way::requantise) return write_quantized(writer, plan.index, first, array, plan.form);
  writer.write(plan.index, first * columns * plan.dtype.size(), array_bytes(array));
}

void warn_of_losses(const std::vector<Plan>& plans, const std::optional<QuantRecipe>& forced,
                    std::vector<std::string>& warnings) {
  std::map<std::pair<GgmlType, std::string>, int> losses;
  for (const auto& plan : plans) {
    const auto type = plan.target->source->type;
    const auto form = fmt::format("{} bits in groups of {}", plan.form.bits, plan.form.group_size);
    if (plan.way == Way::requantise && !is_float(type)) {
      ++losses[{type, "dequantised and quantised again to " + form + ", which loses some accuracy"}];
    }
    if (plan.way == Way::repack && (type == GgmlType::q4_k || type == GgmlType::q5_k)) {
      ++losses[{type, "repacked to " + form + " with scales rounded to float16"}];
    }
    if (plan.way == Way::cast && !is_float(type)) ++losses[{type, "dequantised and not quantised again"}];
    if (plan.way == Way::cast && forced && plan.target->source->shape.size() == 2) {
      ++losses[{type, fmt::format("not quantised: their rows are not whole groups of {}", forced->base().group_size)}];
    }
  }
  for (const auto& [loss, count] : losses) {
    warnings.push_back(fmt::format("{} of {} {} {}", counted(count, "tensor"), ggml_type_info(loss.first).name,
                                   count == 1 ? "was" : "were", loss.second));
  }
}
}  // namespace

GgufWeightsResult write_gguf_weights(const GgufModel& model, const ConvertOptions& options,
                                     const std::filesystem::path& folder, const ProgressSink& progress,
                                     std::vector<std::string>& warnings) {
  std::optional<QuantRecipe> forced;
  if (options.quantize_bits != 0 || !options.recipe.empty()) {
    std::vector<std::string> names;
    for (const auto& target : model.tensors) names.push_back(target.name);
    forced.emplace(options, model.model_type, names);
  }
  GgufWeightsResult result{model_dtype(model, options, forced || options.dequantize), {}, nullptr};
  std::vector<Plan> plans;
  std::vector<OutputTensor> outputs;
  uint64_t total = 0, done = 0, parameters = 0;
  for (const auto& target : model.tensors) {
    auto plan = plan_tensor(target, forced, options, result.dtype);
    plan.index = outputs.size();
    if (plan.way == Way::cast) {
      outputs.push_back({target.name, dtype_word(plan.dtype), plan.dtype.size(), target.source->shape});
    } else {
      const auto layer = layer_of(target);
      result.layers[layer] = plan.form;
      for (auto& output :
           quantized_outputs(layer, {target.source->rows(), target.source->columns()}, plan.form, plan.dtype)) {
        outputs.push_back(std::move(output));
      }
    }
    total += target.source->data.size();
    parameters += target.source->rows() * target.source->columns();
    plans.push_back(std::move(plan));
  }
  warn_of_losses(plans, forced, warnings);

  result.quantization = quantization_of(result.layers, forced);
  SafetensorsWriter writer(folder, std::move(outputs), parameters, options.max_shard_bytes);
  for (const auto& plan : plans) {
    const auto& source = *plan.target->source;
    // Vectors are treated as one column, so that the un-permutation of rows applies to biases too.
    const bool vector = source.shape.size() == 1;
    const uint64_t rows = vector ? source.columns() : source.rows(), columns = vector ? 1 : source.columns();
    const uint64_t step = std::max<uint64_t>(1, kGgufChunkElements / columns);
    for (uint64_t first = 0; first < rows; first += step) {
      write_rows(writer, plan, rows, columns, first, std::min(step, rows - first));
    }
    done += source.data.size();
    if (progress) progress(plan.target->name, static_cast<int64_t>(done), static_cast<int64_t>(total));
  }
  writer.finish();
  return result;
}

}  // namespace mlxk
