#include "convert/source_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/side_file.h"
#include "json/json.h"
#include "mlx/ops.h"
#include "probe/weight_index.h"
#include "tensor_archive/npz_file.h"
#include "tensor_archive/torch_file.h"

namespace mlxk {

namespace fs = std::filesystem;

namespace {
/// A kind of weight files: the suffixes of their names, and the prefixes of those that hold a whole model.
struct Kind {
  std::vector<const char*> endings;
  const char* model;
  const char* index;
};
const std::vector<Kind> kKinds = {{{".safetensors"}, "model", "model.safetensors.index.json"},
                                  {{".bin", ".pth", ".pt"}, "pytorch_model", "pytorch_model.bin.index.json"},
                                  {{".npz"}, "weights", nullptr}};

bool is_of(const Kind& kind, const std::string& name) {
  return std::any_of(kind.endings.begin(), kind.endings.end(), [&](const char* ending) {
    return name.front() != '.' && !is_side_file(name) && fs::path(name).extension() == ending;
  });
}

// Files that trainers save beside a model, with names that end like weights.
bool is_training_state(const std::string& name) {
  for (const char* word : {"optimizer", "scheduler", "training_args", "rng_state"}) {
    if (name.find(word) != name.npos) return true;
  }
  return false;
}

std::vector<fs::path> files_of(const fs::path& folder, const Kind& kind) {
  std::vector<fs::path> all, model;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!is_of(kind, name) || is_training_state(name)) continue;
    all.push_back(entry.path());
    if (name.rfind(kind.model, 0) == 0) model.push_back(entry.path());
  }
  auto& files = model.empty() ? all : model;
  std::sort(files.begin(), files.end());
  return files;
}

/// The files that PyTorch's index names.
std::map<std::string, std::string> read_torch_index(const fs::path& path) {
  std::map<std::string, std::string> shard_of;
  const auto index = read_json(path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object())
    throw Error(ErrorKind::bad_model, fmt::format("{} has no weight_map", path.string()));
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).has_parent_path()) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("{}: tensor {} is in no file of the folder", path.string(), tensor));
    }
    shard_of[tensor] = file.get<std::string>();
  }
  return shard_of;
}

/// The files that an index names, none without an index. An index that names missing files would mean half a model.
std::set<fs::path> indexed_files(const fs::path& folder, const Kind& kind) {
  std::set<fs::path> files;
  if (!kind.index || !fs::exists(folder / kind.index)) return files;
  const auto path = folder / kind.index;
  const auto shard_of = &kind == &kKinds.front() ? read_weight_index(path).shard_of : read_torch_index(path);
  for (const auto& [tensor, file] : shard_of) {
    files.insert(folder / file);
    if (fs::exists(folder / file)) continue;
    throw Error(ErrorKind::bad_model, fmt::format("{}: {} is in {}, which is missing", path.string(), tensor, file),
                "mlxk convert --repair-index writes an index of the existing files");
  }
  return files;
}
}  // namespace

bool is_weights_name(const std::string& name) {
  return std::any_of(kKinds.begin(), kKinds.end(), [&](const Kind& kind) { return is_of(kind, name); });
}

SourceFiles SourceTensors::files(const fs::path& folder) {
  for (const auto& kind : kKinds) {
    auto paths = files_of(folder, kind);
    if (paths.empty()) continue;
    const auto indexed = indexed_files(folder, kind);
    if (!indexed.empty()) paths.assign(indexed.begin(), indexed.end());
    return {std::move(paths), &kind != &kKinds.front()};
  }
  throw Error(ErrorKind::bad_model,
              fmt::format("{} holds no weights: neither safetensors, nor .bin, .pth, .pt or .npz", folder.string()));
}

mx::Dtype mlx_dtype(const TensorEntry& entry) {
  switch (entry.dtype) {
    case TensorDtype::f16: return mx::float16;
    case TensorDtype::bf16: return mx::bfloat16;
    case TensorDtype::f32: return mx::float32;
    case TensorDtype::f64: return mx::float64;
    case TensorDtype::u32: return mx::uint32;
    case TensorDtype::u8: return mx::uint8;
    default:
      throw Error(ErrorKind::unsupported,
                  fmt::format("[convert] tensor {}: {} cannot be converted", entry.name, dtype_name(entry.dtype)));
  }
}
bool SourceTensor::is_float() const {
  return entry.dtype == TensorDtype::f16 || entry.dtype == TensorDtype::bf16 || entry.dtype == TensorDtype::f32 ||
         entry.dtype == TensorDtype::f64;
}

std::span<const std::byte> SourceTensor::bytes() const {
  if (!array) return data;
  mx::array& whole = array->value();
  whole.eval();
  return {whole.data<std::byte>(), whole.nbytes()};
}

uint64_t SourceTensor::columns() const { return entry.shape.empty() ? 1 : static_cast<uint64_t>(entry.shape.back()); }

uint64_t SourceTensor::rows() const {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < entry.shape.size(); ++i) rows *= static_cast<uint64_t>(entry.shape[i]);
  return rows;
}

SourceTensors::SourceTensors(const fs::path& folder, const fs::path& file) {
  const auto paths = file.empty() ? files(folder).paths : std::vector{file};
  for (const auto& path : paths) {
    files_.emplace_back(path);
    if (path.extension() == ".safetensors") {
      add_safetensors(path);
    } else {
      add_archive(path);
    }
  }
}

void SourceTensors::add_safetensors(const fs::path& path) {
  auto header = read_safetensors_header(path);
  const auto bytes = files_.back().bytes();
  for (auto& entry : header.tensors) {
    // The header was checked against the file's length, but that length may have changed since.
    if (header.header_bytes + entry.end > bytes.size()) {
      throw Error(ErrorKind::bad_model, fmt::format("{}: tensor {} ends past the file", path.string(), entry.name));
    }
    const auto data = bytes.subspan(header.header_bytes + entry.begin, entry.end - entry.begin);
    add(path, {std::move(entry), data});
  }
}

void SourceTensors::add_archive(const fs::path& path) {
  const auto bytes = files_.back().bytes();
  constexpr std::string_view kZip = "PK";
  if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).substr(0, 2) != kZip) {
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is neither an archive of PyTorch 1.6 or newer nor of NumPy", path.string()),
                "load it with PyTorch and save it again");
  }
  const ZipFile archive(bytes, path.string());
  const bool npz = path.extension() == ".npz";
  for (auto& tensor : npz ? read_npz(archive, buffers_) : read_torch(archive, buffers_)) {
    add(path, {std::move(tensor.entry), tensor.data});
  }
}

void SourceTensors::add(const fs::path& path, SourceTensor tensor) {
  const auto name = tensor.entry.name;
  tensor.file = files_.size() - 1;
  if (!tensors_.emplace(name, std::move(tensor)).second) {
    throw Error(ErrorKind::bad_model, fmt::format("{}: tensor {} is in another file too", path.string(), name));
  }
}

const SourceTensor* SourceTensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

void SourceTensors::release(const SourceTensor& tensor, std::span<const std::byte> part) const {
  if (tensor.array) {
    const auto bytes = tensor.bytes();
    if (part.data() + part.size() == bytes.data() + bytes.size()) tensor.array->reset();
    return;
  }
  const auto whole = files_[tensor.file].bytes();
  if (part.data() >= whole.data() && part.data() < whole.data() + whole.size()) files_[tensor.file].release(part);
}

mx::array rows_array(const SourceTensor& tensor, uint64_t first, uint64_t count) {
  const auto dtype = mlx_dtype(tensor.entry);
  const uint64_t row_bytes = tensor.columns() * dtype.size();
  const auto data = tensor.bytes().subspan(first * row_bytes, count * row_bytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  // Over bytes, because a tensor may start at any address.
  const mx::array raw(bytes, {static_cast<int>(count), static_cast<int>(row_bytes)}, mx::uint8);
  return mx::view(raw, dtype);
}

}  // namespace mlxk
