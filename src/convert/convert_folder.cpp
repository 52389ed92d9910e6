#include "convert/convert_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "convert/config_file.h"
#include "convert/folder_plan.h"
#include "convert/quantizer.h"
#include "json/json.h"
#include "json/member.h"
#include "mlx/ops.h"
#include "probe/embedding_config.h"
#include "probe/model_info.h"

namespace mlxk {

namespace {
constexpr uint64_t kChunkElements = uint64_t{1} << 22;

class FolderWriter {
 public:
  FolderWriter(const SourceTensors& source, SafetensorsWriter& writer, const ProgressSink& progress)
      : source_(source), writer_(writer), progress_(progress) {
    for (const auto& [name, tensor] : source.tensors()) total_ += tensor.data.size();
  }

  void write(const TensorPlan& plan) {
    for (size_t part = 0; part < plan.tensor->parts.size(); ++part) write_part(plan, part);
  }

 private:
  void write_part(const TensorPlan& plan, size_t part) {
    const auto& tensor = *plan.tensor->parts[part];
    const uint64_t rows = tensor.rows(), before = part * rows;
    const uint64_t step = std::max<uint64_t>(1, kChunkElements / std::max<uint64_t>(1, tensor.columns()));
    for (uint64_t first = 0; first < rows; first += step) {
      const uint64_t count = std::min(step, rows - first);
      const auto data = bytes_of(tensor, first, count);
      if (plan.way == TensorPlan::Way::copy) {
        writer_.write(plan.index, before * row_bytes(tensor) + first * row_bytes(tensor), data);
      } else {
        write_rows(plan, before + first, float_rows(plan, part, first, count));
      }
      source_.release(tensor, data);
      done_ += data.size();
      if (progress_) progress_(plan.tensor->name, static_cast<int64_t>(done_), static_cast<int64_t>(total_));
    }
  }

  static uint64_t row_bytes(const SourceTensor& tensor) { return tensor.columns() * dtype_bytes(tensor.entry.dtype); }

  static std::span<const std::byte> bytes_of(const SourceTensor& tensor, uint64_t first, uint64_t count) {
    return tensor.bytes().subspan(first * row_bytes(tensor), count * row_bytes(tensor));
  }

  static mx::array float_rows(const TensorPlan& plan, size_t part, uint64_t first, uint64_t count) {
    auto rows = rows_array(*plan.tensor->parts[part], first, count);
    if (plan.scales) {
      auto scales = rows_array(*plan.scales->parts[part], first, count);
      std::optional<mx::array> biases;
      if (plan.biases) biases = rows_array(*plan.biases->parts[part], first, count);
      if (plan.unpack_as && biases) {
        scales = mx::astype(scales, *plan.unpack_as);
        biases = mx::astype(*biases, *plan.unpack_as);
      }
      rows = mx::dequantize(rows, scales, biases, plan.from.group_size, plan.from.bits, plan.from.mode);
    }
    if (rows.dtype() == plan.dtype) return rows;
    auto cast = mx::astype(rows, plan.dtype);
    if (plan.dtype == mx::float16 && mx::any(mx::not_equal(mx::isinf(cast), mx::isinf(rows))).item<bool>()) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[convert] tensor {} has values that do not fit into float16", plan.tensor->name),
                  "use --dtype bfloat16");
    }
    return cast;
  }

  void write_rows(const TensorPlan& plan, uint64_t first_row, const mx::array& rows) {
    if (plan.way == TensorPlan::Way::pack) return write_quantized(writer_, plan.index, first_row, rows, plan.to);
    const uint64_t columns = static_cast<uint64_t>(rows.shape(1));
    writer_.write(plan.index, first_row * columns * plan.dtype.size(), array_bytes(rows));
  }

  const SourceTensors& source_;
  SafetensorsWriter& writer_;
  const ProgressSink& progress_;
  uint64_t done_ = 0, total_ = 0;
};

void copy_other_files(const fs::path& source, const fs::path& folder) {
  constexpr std::array kKinds = {".json", ".jinja", ".jsonl", ".model", ".tiktoken", ".txt", ".py", ".metadata", ""};
  constexpr std::string_view kIndex = ".index.json";
  for (const auto& entry : fs::directory_iterator(source)) {
    const auto name = entry.path().filename().string();
    const auto kind = entry.path().extension().string();
    const bool index = name.size() > kIndex.size() && name.substr(name.size() - kIndex.size()) == kIndex;
    if (!entry.is_regular_file() || name.front() == '.' || is_side_file(name) || name == "config.json" || index)
      continue;
    if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) continue;
    fs::copy_file(entry.path(), folder / name);
  }
}

/// Copies the folders that sentence-transformers' modules.json names besides the transformer's, and BGE-M3's heads.
void copy_modules(const fs::path& source, const fs::path& folder) {
  for (const char* head : {"sparse_linear.pt", "colbert_linear.pt"}) {
    if (fs::is_regular_file(source / head)) fs::copy_file(source / head, folder / head);
  }
  for (const std::string& module : module_folders(source)) {
    if (!fs::is_directory(source / module)) continue;
    fs::create_directories(folder / module);
    for (const auto& entry : fs::directory_iterator(source / module)) {
      const bool is_file = entry.is_regular_file() && !is_side_file(entry.path().filename().string());
      if (is_file) {
        fs::copy_file(entry.path(), folder / module / entry.path().filename(), fs::copy_options::skip_existing);
      }
    }
  }
}

std::string model_type_of(const Json& config, const fs::path& source) {
  if (!config.is_object())
    throw Error(ErrorKind::bad_model, fmt::format("{}/config.json is not an object", source.string()));
  return string_at(config, "model_type");
}
}  // namespace

ModelKind kind_of(const fs::path& folder) {
  const ModelInfo info = probe_model({.name = folder.string(), .path = folder, .cached = false});
  return info.is_embedding ? ModelKind::embedding : ModelKind::text;
}

ConvertReport convert_folder(const fs::path& source, const SourceTensors& tensors, const ConvertOptions& options,
                             const fs::path& folder, const ProgressSink& progress) {
  auto config = read_json(source / "config.json");
  ConvertReport report;
  report.model_type = model_type_of(config, source);
  const auto layout = lay_out(config, tensors, kind_of(source));
  FolderPlan plan(options, config, layout, report.warnings);
  if (options.dequantize && !config.contains("quantization"))
    report.warnings.push_back("The source is not quantized; its values stay as they are.");

  SafetensorsWriter writer(folder, plan.take_outputs(), plan.parameters(), options.max_shard_bytes);
  FolderWriter copier(tensors, writer, progress);
  for (const auto& tensor : plan.tensors()) copier.write(tensor);
  tensors.check();
  writer.finish();
  const bool sees = config.erase("vision_config") > 0, hears = config.erase("audio_config") > 0;
  if (sees || hears) {
    report.warnings.push_back(fmt::format("The {} left out: the result is the language model alone.",
                                          sees && hears ? "vision and audio towers are"
                                          : sees        ? "vision tower is"
                                                        : "audio tower is"));
  }
  copy_other_files(source, folder);
  copy_modules(source, folder);
  take_generation_eos(config, source);
  set_quantization(config, plan.quantization());
  if (!options.dtype.empty()) config["torch_dtype"] = options.dtype;
  write_config(folder, std::move(config));
  const bool packs = options.quantize_bits != 0 || !options.recipe.empty();
  report.mode = packs ? "quantize" : options.dequantize ? "dequantize" : "convert";
  report.quantization = options.recipe.empty() ? describe_quantization(plan.packed()) : options.recipe;
  return report;
}

}  // namespace mlxk
