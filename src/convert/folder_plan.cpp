#include "convert/folder_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {
/// The type that floats are converted to: the option's, else config.json's torch_dtype as in mlx-lm; none: unchanged.
std::optional<mx::Dtype> float_type(const ConvertOptions& options, const Json& config) {
  if (!options.dtype.empty()) return dtype_named(options.dtype);
  std::string name = string_at(config, "torch_dtype");
  if (name.empty()) name = string_at(value_at(config, "text_config"), "dtype");
  return name.empty() ? std::nullopt : dtype_named(name);
}

/// Whether the source was packed by its publisher, by quantization_config: its layers stay packed as they are.
bool is_published_packed(const Json& config) {
  return !config.contains("quantization") &&
         string_at(value_at(config, "quantization_config"), "quant_method") == "mxfp4";
}

/// The packing of the source in config.json; null: none.
Json source_quantization(const Json& config) {
  const auto own = config.find("quantization");
  if (own != config.end() && own->is_object()) return *own;
  const auto other = config.find("quantization_config");
  if (other == config.end() || other->is_null()) return nullptr;
  if (is_published_packed(config)) return form_json(requested_form(4, 0, "mxfp4"));
  const std::string method = string_at(*other, "quant_method");
  if (method == "fp8") return nullptr;  // unpacked
  throw Error(ErrorKind::unsupported,
              fmt::format("[convert] config.json: quantization_config of {} is another tool's packing",
                          method.empty() ? "an unknown method" : method),
              "convert the model that it was made from");
}

uint64_t product(const std::vector<uint64_t>& shape) {
  uint64_t elements = 1;
  for (const auto size : shape) elements *= size;
  return elements;
}
}  // namespace

FolderPlan::FolderPlan(const ConvertOptions& options, const Json& config, const std::vector<LayoutTensor>& layout,
                       std::vector<std::string>& warnings)
    : options_(options),
      config_(config),
      warnings_(warnings),
      cast_(float_type(options, config)),
      model_type_(config.value("model_type", "")),
      keeps_packed_(is_published_packed(config)),
      source_quantization_(source_quantization(config)) {
  for (const auto& tensor : layout) by_name_[tensor.name] = &tensor;
  if (options.quantize_bits != 0 || !options.recipe.empty()) {
    std::vector<std::string> names;
    for (const auto& tensor : layout) names.push_back(tensor.name);
    recipe_.emplace(options, model_type_, names);
    quantization_ = keeps_packed_ ? source_quantization_ : form_json(recipe_->base());
  } else if (!options.dequantize) {
    quantization_ = source_quantization_;
  }
  for (const auto& tensor : layout) add(tensor);
  if (recipe_ && packed_.empty()) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[convert] no matrix has rows of whole groups of {}", recipe_->base().group_size));
  }
}

const LayoutTensor* FolderPlan::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

bool FolderPlan::is_leaf(const std::string& module) const {
  const std::string start = module + ".";
  for (auto it = by_name_.lower_bound(start); it != by_name_.end() && it->first.starts_with(start); ++it) {
    if (it->first.find('.', start.size()) != it->first.npos) return false;
  }
  return true;
}

QuantForm FolderPlan::source_form(const std::string& layer) const {
  if (!source_quantization_.is_object()) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[convert] {} has scales, but config.json has no quantization", layer));
  }
  const auto own = source_quantization_.find(layer);
  const auto& entry = own != source_quantization_.end() && own->is_object() ? *own : source_quantization_;
  try {
    return requested_form(entry.at("bits").get<int>(), entry.value("group_size", 0), entry.value("mode", "affine"));
  } catch (const Json::exception&) {
    throw Error(ErrorKind::bad_model, fmt::format("[convert] config.json: quantization of {} needs bits", layer));
  }
}

void FolderPlan::warn_of_gain(int bits) {
  if (!source_quantization_.is_object() || !warnings_.empty()) return;
  const auto had = source_quantization_.find("bits");
  if (had == source_quantization_.end() || !had->is_number_integer() || bits <= had->get<int>()) return;
  warnings_.push_back(
      fmt::format("Source already {}-bit. Quantizing to {}-bit does not increase precision.", had->get<int>(), bits));
}

void FolderPlan::add(const LayoutTensor& tensor) {
  const auto layer = tensor.layer();
  const auto* scales = find(layer + ".scales");
  TensorPlan plan{&tensor};
  plan.index = outputs_.size();
  plan.shape = tensor.shape();
  const bool unpacks = scales && (options_.dequantize || (recipe_ && !keeps_packed_));
  if (unpacks && (tensor.leaf() == "scales" || tensor.leaf() == "biases"))
    return;  // they are written with their weight
  if (unpacks && tensor.leaf() == "weight") {
    plan.scales = scales;
    plan.biases = find(layer + ".biases");
    plan.from = source_form(layer);
    plan.unpack_as = cast_;
    const auto bits = static_cast<uint64_t>(plan.from.bits), group = static_cast<uint64_t>(plan.from.group_size);
    const uint64_t packed_columns = plan.shape.back();
    plan.shape.back() = packed_columns * 32 / bits;
    auto groups = plan.shape;
    groups.back() /= group;
    const bool fits =
        tensor.entry().dtype == TensorDtype::u32 && plan.shape.size() >= 2 && plan.shape.back() % group == 0 &&
        plan.shape.back() * bits / 32 == packed_columns && scales->shape() == groups &&
        scales->parts.size() == tensor.parts.size() && plan.from.has_biases() == (plan.biases != nullptr) &&
        (!plan.biases || (plan.biases->shape() == groups && plan.biases->entry().dtype == scales->entry().dtype));
    if (!fits) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[convert] layer {}: weight, scales and biases do not fit {} bits in groups of {}", layer,
                              plan.from.bits, plan.from.group_size));
    }
    // Modes without biases are unpacked to bfloat16.
    const auto unpacked = plan.from.has_biases() ? cast_.value_or(mlx_dtype(scales->entry())) : mx::bfloat16;
    plan.dtype = options_.dtype.empty() ? unpacked : *cast_;
  } else if (!tensor.parts.front()->is_float()) {
    return add_copy(std::move(plan));
  } else {
    const auto own = mlx_dtype(tensor.entry());
    plan.dtype = cast_.value_or(own == mx::float64 ? mx::float32 : own);
    if (is_kept_precise(model_type_, tensor.name)) plan.dtype = own;
  }
  // The kernel of a depthwise convolution, [channels, width, 1], is not a matrix.
  const bool matrix = tensor.is_matrix && plan.shape.size() >= 2 && plan.shape.back() > 1 &&
                      tensor.leaf() == "weight" && product(plan.shape) > 0 && !is_never_packed(model_type_, layer);
  if (!recipe_ || !matrix) return add_float(std::move(plan));
  const auto base_group = static_cast<uint64_t>(recipe_->base().group_size);
  if (plan.shape.back() % base_group == 0) return add_packed(std::move(plan), recipe_->of(layer));
  warnings_.push_back(fmt::format("{} is not quantised: {} columns are not whole groups of {}", tensor.name,
                                  plan.shape.back(), base_group));
  add_float(std::move(plan));
}

void FolderPlan::add_packed(TensorPlan plan, const LayerForm& form) {
  const auto layer = plan.tensor->layer();
  if (plan.shape.back() % static_cast<uint64_t>(form.form.group_size) != 0) {
    throw Error(ErrorKind::unsupported, fmt::format("[convert] layer {}: {} columns are not whole groups of {}", layer,
                                                    plan.shape.back(), form.form.group_size));
  }
  if (plan.scales) warn_of_gain(recipe_->base().bits);
  plan.way = TensorPlan::Way::pack;
  plan.to = form.form;
  packed_[layer] = form.form;
  if (!form.entry.is_null()) quantization_[layer] = form.entry;
  if (form.entry.is_null() && keeps_packed_) quantization_[layer] = form_json(form.form);
  for (auto& output : quantized_outputs(layer, plan.shape, plan.to, plan.dtype)) outputs_.push_back(std::move(output));
  parameters_ += product(plan.shape);
  plans_.push_back(std::move(plan));
}

void FolderPlan::add_float(TensorPlan plan) {
  plan.way = TensorPlan::Way::cast;
  // Scales and biases of groups do not count as parameters.
  const auto leaf = plan.tensor->leaf();
  if (leaf != "scales" && leaf != "biases" && is_leaf(plan.tensor->layer())) parameters_ += product(plan.shape);
  outputs_.push_back({plan.tensor->name, dtype_word(plan.dtype), plan.dtype.size(), plan.shape});
  plans_.push_back(std::move(plan));
}

void FolderPlan::add_copy(TensorPlan plan) {
  const auto& entry = plan.tensor->entry();
  mlx_dtype(entry);  // refuses types that libmlx cannot read
  const auto layer = plan.tensor->layer();
  if (plan.tensor->leaf() == "weight" && find(layer + ".scales")) {
    const auto form = source_form(layer);
    packed_[layer] = form;
    parameters_ += product(plan.shape) * 32 / static_cast<uint64_t>(form.bits);
  } else if (plan.tensor->leaf() != "scales") {
    parameters_ += product(plan.shape);
  }
  outputs_.push_back({plan.tensor->name, dtype_name(entry.dtype).data(), dtype_bytes(entry.dtype), plan.shape});
  plans_.push_back(std::move(plan));
}

}  // namespace mlxk
