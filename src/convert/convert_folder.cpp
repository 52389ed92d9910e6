#include "convert/convert_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "convert/quantizer.h"
#include "convert/source_tensors.h"
#include "json/json.h"
#include "mlx/ops.h"
#include "models/load.h"

namespace mlxk {

namespace {
constexpr uint64_t kChunkElements = uint64_t{1} << 22;

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// How a quantised source packs its layers.
class SourceForms {
 public:
  explicit SourceForms(const Json& config) : quantization_(config.value("quantization", Json())) {
    if (config.contains("quantization_config") && quantization_.is_null()) {
      throw Error(ErrorKind::unsupported,
                  "[convert] config.json: quantization_config without quantization is another tool's packing");
    }
  }

  QuantForm of(const std::string& layer) const {
    if (!quantization_.is_object())
      throw Error(ErrorKind::bad_model, fmt::format("[convert] {} has scales, config.json no quantization", layer));
    const auto own = quantization_.find(layer);
    const auto& entry = own != quantization_.end() && own->is_object() ? *own : quantization_;
    try {
      return requested_form(entry.at("bits").get<int>(), entry.at("group_size").get<int>(),
                            entry.value("mode", "affine"));
    } catch (const Json::exception&) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[convert] config.json: quantization of {} needs bits and group_size", layer));
    }
  }

  /// 0: the source is not quantised, or does not say.
  int bits() const {
    const bool says = quantization_.is_object() && quantization_.contains("bits");
    return says && quantization_["bits"].is_number_integer() ? quantization_["bits"].get<int>() : 0;
  }

 private:
  Json quantization_;
};

/// A tensor of the result: copied, or a layer that is packed.
struct Plan {
  const SourceTensor* source;
  std::string layer;                     // packed: its path
  const SourceTensor* scales = nullptr;  // of a packed source
  const SourceTensor* biases = nullptr;
  QuantForm from;
  size_t index = 0;
};

void check_packed(const Plan& plan) {
  const auto& form = plan.from;
  const uint64_t columns = plan.source->columns() * 32 / static_cast<uint64_t>(form.bits);
  const bool fits = plan.source->entry.dtype == TensorDtype::u32 && plan.source->entry.shape.size() == 2 &&
                    plan.scales->entry.shape.size() == 2 && plan.scales->rows() == plan.source->rows() &&
                    plan.scales->columns() * static_cast<uint64_t>(form.group_size) == columns &&
                    (!form.has_biases() || (plan.biases && plan.biases->entry.shape == plan.scales->entry.shape));
  if (!fits)
    throw Error(ErrorKind::bad_model,
                fmt::format("[convert] layer {}: weight, scales and biases do not fit {} bits in groups of {}",
                            plan.layer, form.bits, form.group_size));
}

mx::array float_rows(const Plan& plan, uint64_t first, uint64_t count) {
  auto rows = rows_array(*plan.source, first, count);
  if (!plan.scales) return rows;
  std::optional<mx::array> biases;
  if (plan.biases) biases = rows_array(*plan.biases, first, count);
  return mx::dequantize(rows, rows_array(*plan.scales, first, count), biases, plan.from.group_size, plan.from.bits,
                        plan.from.mode);
}

mx::Dtype scales_dtype(const Plan& plan) {
  const auto dtype = (plan.biases ? plan.biases : plan.source)->entry.dtype;
  if (dtype == TensorDtype::f16) return mx::float16;
  // Modes without biases dequantise to bfloat16.
  return dtype == TensorDtype::f32 ? mx::float32 : mx::bfloat16;
}

void copy_other_files(const fs::path& source, const fs::path& folder) {
  constexpr std::array kKinds = {".json", ".jinja", ".jsonl", ".model", ".tiktoken", ".txt", ".md", ""};
  for (const auto& entry : fs::directory_iterator(source)) {
    const auto name = entry.path().filename().string();
    const auto kind = entry.path().extension().string();
    if (!entry.is_regular_file() || name.front() == '.' || name == "config.json" ||
        ends_with(name, ".safetensors.index.json"))
      continue;
    if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) continue;
    fs::copy_file(entry.path(), folder / name);
  }
}

class FolderQuantizer {
 public:
  FolderQuantizer(const fs::path& source, const Json& config, const QuantForm& form, std::vector<std::string>& warnings)
      : tensors_(source), forms_(config), form_(form), warnings_(warnings) {
    if (forms_.bits() > 0 && form.bits > forms_.bits()) {
      warnings_.push_back(fmt::format("Source already {}-bit. Quantizing to {}-bit does not increase precision.",
                                      forms_.bits(), form.bits));
    }
    const bool tied = config.contains("tie_word_embeddings") && config["tie_word_embeddings"] == true;
    for (const auto& [name, tensor] : tensors_.tensors()) {
      if (ends_with(name, "rotary_emb.inv_freq") || (tied && name.rfind("lm_head.", 0) == 0)) continue;
      add(name, tensor);
    }
  }

  void write(const fs::path& folder, const ProgressSink& progress) {
    SafetensorsWriter writer(folder, outputs_);
    int64_t done = 0;
    for (const auto& plan : plans_) {
      write_tensor(writer, plan);
      if (progress) progress(plan.source->entry.name, ++done, static_cast<int64_t>(plans_.size()));
    }
    tensors_.check();
    writer.finish();
  }

  const std::map<std::string, QuantForm>& layers() const { return layers_; }

 private:
  void add(const std::string& name, const SourceTensor& tensor) {
    const auto dot = name.rfind('.');
    const auto layer = name.substr(0, dot == std::string::npos ? 0 : dot);
    const auto* scales = tensors_.find(layer + ".scales");
    if (scales && (ends_with(name, ".scales") || ends_with(name, ".biases"))) return;
    Plan plan{&tensor, {}};
    plan.index = outputs_.size();
    uint64_t columns = tensor.columns();
    if (scales && ends_with(name, ".weight")) {
      plan.layer = layer;
      plan.scales = scales;
      plan.biases = tensors_.find(layer + ".biases");
      plan.from = forms_.of(layer);
      check_packed(plan);
      columns = columns * 32 / static_cast<uint64_t>(plan.from.bits);
    }
    const bool matrix =
        tensor.entry.shape.size() == 2 && ends_with(name, ".weight") && (plan.scales || tensor.is_float());
    const bool empty = columns == 0 || tensor.rows() == 0;
    if (matrix && !empty && columns % static_cast<uint64_t>(form_.group_size) == 0) {
      plan.layer = layer;
      layers_[layer] = form_;
      for (auto& output : quantized_outputs(layer, tensor.rows(), columns, form_, scales_dtype(plan)))
        outputs_.push_back(std::move(output));
    } else {
      if (plan.scales)
        throw Error(ErrorKind::unsupported, fmt::format("[convert] layer {}: {} columns are not whole groups of {}",
                                                        layer, columns, form_.group_size));
      if (matrix)
        warnings_.push_back(
            fmt::format("{} is not quantised: {} columns are not whole groups of {}", name, columns, form_.group_size));
      plan.layer.clear();
      outputs_.push_back({name,
                          dtype_name(tensor.entry.dtype).data(),
                          dtype_bytes(tensor.entry.dtype),
                          {tensor.entry.shape.begin(), tensor.entry.shape.end()}});
    }
    plans_.push_back(std::move(plan));
  }

  void write_tensor(SafetensorsWriter& writer, const Plan& plan) const {
    if (plan.layer.empty()) return writer.write(plan.index, 0, plan.source->data);
    const uint64_t rows = plan.source->rows(), step = std::max<uint64_t>(1, kChunkElements / plan.source->columns());
    for (uint64_t first = 0; first < rows; first += step) {
      write_quantized(writer, plan.index, first, float_rows(plan, first, std::min(step, rows - first)), form_);
    }
  }

  SourceTensors tensors_;
  SourceForms forms_;
  QuantForm form_;
  std::vector<std::string>& warnings_;
  std::vector<Plan> plans_;
  std::vector<OutputTensor> outputs_;
  std::map<std::string, QuantForm> layers_;
};
}  // namespace

ConvertReport convert_folder(const fs::path& source, const ConvertOptions& options, const fs::path& folder,
                             const ProgressSink& progress) {
  if (options.quantize_bits == 0) throw Error(ErrorKind::usage, "a folder of safetensors needs --quantize BITS");
  const auto form = requested_form(options.quantize_bits, options.group_size, options.mode);
  auto config = read_json(source / "config.json");
  if (!config.is_object())
    throw Error(ErrorKind::bad_model, fmt::format("{}/config.json is not an object", source.string()));
  ConvertReport report;
  report.model_type =
      config.contains("model_type") && config["model_type"].is_string() ? config["model_type"].get<std::string>() : "";
  if (!is_built_in(report.model_type) || config.contains("vision_config") || config.contains("audio_config")) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[convert] config.json: model_type \"{}\"{} cannot be quantised here", report.model_type,
                            config.contains("vision_config") ? " with a vision tower" : ""),
                fmt::format("text models of these types can: {}", fmt::join(built_in_models(), ", ")));
  }
  FolderQuantizer quantizer(source, config, form, report.warnings);
  if (quantizer.layers().empty())
    throw Error(ErrorKind::bad_model, fmt::format("{} has no matrix that could be quantised", source.string()));
  quantizer.write(folder, progress);
  copy_other_files(source, folder);
  config["quantization"] = quantization_config(quantizer.layers());
  config["quantization_config"] = config["quantization"];
  write_file_atomic(folder / "config.json", dump_json(config));
  report.quantization = describe_quantization(quantizer.layers());
  return report;
}

}  // namespace mlxk
