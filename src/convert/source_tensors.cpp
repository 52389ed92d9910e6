#include "convert/source_tensors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {

namespace fs = std::filesystem;

namespace {
std::vector<fs::path> weight_files(const fs::path& folder) {
  std::vector<fs::path> all, model;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.path().extension() != ".safetensors" || name.front() == '.') continue;
    all.push_back(entry.path());
    if (name.rfind("model", 0) == 0) model.push_back(entry.path());
  }
  auto& files = model.empty() ? all : model;
  std::sort(files.begin(), files.end());
  return files;
}

mx::Dtype mlx_dtype(const TensorEntry& entry) {
  switch (entry.dtype) {
    case TensorDtype::f16:
      return mx::float16;
    case TensorDtype::bf16:
      return mx::bfloat16;
    case TensorDtype::f32:
      return mx::float32;
    case TensorDtype::u32:
      return mx::uint32;
    case TensorDtype::u8:
      return mx::uint8;
    default:
      throw Error(ErrorKind::unsupported,
                  fmt::format("[convert] tensor {}: {} cannot be converted", entry.name, dtype_name(entry.dtype)));
  }
}
}  // namespace

bool SourceTensor::is_float() const {
  return entry.dtype == TensorDtype::f16 || entry.dtype == TensorDtype::bf16 || entry.dtype == TensorDtype::f32;
}

uint64_t SourceTensor::columns() const { return entry.shape.empty() ? 1 : static_cast<uint64_t>(entry.shape.back()); }

uint64_t SourceTensor::rows() const {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < entry.shape.size(); ++i) rows *= static_cast<uint64_t>(entry.shape[i]);
  return rows;
}

SourceTensors::SourceTensors(const fs::path& folder) {
  for (const auto& path : weight_files(folder)) {
    auto header = read_safetensors_header(path);
    files_.emplace_back(path);
    const auto bytes = files_.back().bytes();
    for (auto& entry : header.tensors) {
      // The header was checked against the file's length, but that was another look at the file.
      if (header.header_bytes + entry.end > bytes.size()) {
        throw Error(ErrorKind::bad_model, fmt::format("{}: tensor {} ends past the file", path.string(), entry.name));
      }
      const auto name = entry.name;
      const auto data = bytes.subspan(header.header_bytes + entry.begin, entry.end - entry.begin);
      if (!tensors_.emplace(name, SourceTensor{std::move(entry), data}).second) {
        throw Error(ErrorKind::bad_model, fmt::format("{}: tensor {} is in another file too", path.string(), name));
      }
    }
  }
  if (tensors_.empty())
    throw Error(ErrorKind::bad_model, fmt::format("{} holds no safetensors weights", folder.string()));
}

const SourceTensor* SourceTensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

mx::array rows_array(const SourceTensor& tensor, uint64_t first, uint64_t count) {
  const auto dtype = mlx_dtype(tensor.entry);
  const uint64_t row_bytes = tensor.columns() * dtype.size();
  const auto data = tensor.data.subspan(first * row_bytes, count * row_bytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  // Over bytes, since a tensor may start at any of them.
  const mx::array raw(bytes, {static_cast<int>(count), static_cast<int>(row_bytes)}, mx::uint8);
  return mx::view(raw, dtype);
}

}  // namespace mlxk
