#include "models/weight_files.h"

#include <fmt/format.h>

#include "kernels/allocate.h"
#include "kernels/cuda/upload.h"
#include "mlx/allocator.h"
#include "mlx/backend/cuda/cuda.h"
#include "mlx/device.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "probe/safetensors_header.h"
#include "probe/weight_index.h"
#include "probe/weight_set.h"
#include "tensor_archive/npz_file.h"
#include "tensor_archive/torch_file.h"

namespace mlxk {

namespace fs = std::filesystem;

namespace {

mx::Dtype mlx_type(const fs::path& file, const TensorEntry& entry) {
  switch (entry.dtype) {
    case TensorDtype::boolean: return mx::bool_;
    case TensorDtype::u8: return mx::uint8;
    case TensorDtype::i8: return mx::int8;
    case TensorDtype::f8_e4m3:
    case TensorDtype::f8_e8m0: return mx::uint8;
    case TensorDtype::u16: return mx::uint16;
    case TensorDtype::i16: return mx::int16;
    case TensorDtype::f16: return mx::float16;
    case TensorDtype::bf16: return mx::bfloat16;
    case TensorDtype::u32: return mx::uint32;
    case TensorDtype::i32: return mx::int32;
    case TensorDtype::f32: return mx::float32;
    case TensorDtype::u64: return mx::uint64;
    case TensorDtype::i64: return mx::int64;
    case TensorDtype::c64: return mx::complex64;
    case TensorDtype::f8_e5m2:
    case TensorDtype::f64: break;
  }
  throw Error(ErrorKind::bad_model, fmt::format("[weights] {} in {} is of type {}, which MLX does not have", entry.name,
                                                file.filename().string(), dtype_name(entry.dtype)));
}

/// The offset of the data from a buffer's address in libmlx's CPU allocator.
std::ptrdiff_t buffer_offset() {
  static const std::ptrdiff_t offset = [] {
    mx::allocator::Data sample = allocate(1);
    mx::allocator::Buffer buffer = sample.buffer();
    return static_cast<std::byte*>(buffer.raw_ptr()) - static_cast<std::byte*>(buffer.ptr());
  }();
  return offset;
}

/// An array over `bytes`; `owner` lives as long as the array. libmlx does not own the bytes, so it never writes there.
mx::array in_place(std::shared_ptr<const void> owner, std::span<const std::byte> bytes, const fs::path& path,
                   const TensorEntry& entry) {
  mx::Shape shape(entry.shape.begin(), entry.shape.end());
  const mx::Dtype type = mlx_type(path, entry);
  if (bytes.empty()) return mx::zeros(shape, type);
  const mx::allocator::Buffer buffer(const_cast<std::byte*>(bytes.data()) - buffer_offset());
  return mx::array(mx::allocator::Data(buffer, [owner = std::move(owner)](mx::allocator::Buffer) {}), std::move(shape),
                   type);
}

/// The same for a device that cannot read them there.
mx::array copied(std::span<const std::byte> bytes, const fs::path& path, const TensorEntry& entry) {
  mx::Shape shape(entry.shape.begin(), entry.shape.end());
  const mx::Dtype type = mlx_type(path, entry);
  if (bytes.empty()) return mx::zeros(shape, type);
  const mx::array raw(reinterpret_cast<const uint8_t*>(bytes.data()), {static_cast<int>(bytes.size())}, mx::uint8);
  return mx::reshape(mx::view(raw, type), std::move(shape));
}

/// The arrays of a NumPy archive, whose buffers live as long as the file.
template <class Add>
void add_npz(const fs::path& path, std::vector<std::shared_ptr<const MappedFile>>& mapped, const Add& add) {
  struct Owner {
    std::shared_ptr<const MappedFile> file;
    TensorBuffers buffers;
  };
  auto owner = std::make_shared<Owner>();
  owner->file = std::make_shared<const MappedFile>(path);
  const ZipFile archive(owner->file->bytes(), path.string());
  const bool cpu = mx::default_device() == mx::Device::cpu;
  for (const auto& tensor : read_npz(archive, owner->buffers)) {
    add(tensor.entry.name,
        cpu ? in_place(owner, tensor.data, path, tensor.entry) : copied(tensor.data, path, tensor.entry));
  }
  if (cpu) mapped.push_back(owner->file);
}

}  // namespace

std::vector<fs::path> weight_files(const fs::path& dir) {
  const ModelFiles files(dir);
  if (files.has(kWeightIndexName)) check_weight_index(read_weight_index(dir / kWeightIndexName), dir);
  std::vector<fs::path> paths;
  for (const ModelFile* file : weight_set(files)) paths.push_back(dir / file->path);
  if (paths.empty())
    throw Error(ErrorKind::not_found, fmt::format("[weights] no model*.safetensors in {}", dir.string()));
  return paths;
}

WeightFiles open_weights(const std::vector<fs::path>& files) {
  WeightFiles weights;
  for (const auto& path : files) {
    const auto add = [&](const std::string& name, const mx::array& tensor) {
      if (!weights.tensors.emplace(name, tensor).second) {
        throw Error(ErrorKind::bad_model,
                    fmt::format("[weights] {} is in more than one file, again in {}", name, path.filename().string()));
      }
    };
    if (path.extension() == ".npz") {
      add_npz(path, weights.mapped, add);
      continue;
    }
    const SafetensorsHeader header = read_safetensors_header(path);
    if (mx::default_device() == mx::Device::cpu) {
      const auto file = std::make_shared<const MappedFile>(path);
      const uint64_t bytes = header.tensors.empty() ? 0 : header.tensors.back().end;
      if (file->bytes().size() != header.header_bytes + bytes) {
        throw Error(ErrorKind::bad_model, fmt::format("[weights] {} changed while it was opened", path.string()));
      }
      for (const auto& entry : header.tensors) {
        const auto data = file->bytes().subspan(header.header_bytes + entry.begin, entry.end - entry.begin);
        add(entry.name, in_place(file, data, path, entry));
      }
      weights.mapped.push_back(file);
    } else if (mx::cu::is_available()) {
      std::vector<CudaUpload> uploads;
      for (const auto& entry : header.tensors) {
        mx::Shape shape(entry.shape.begin(), entry.shape.end());
        uploads.push_back({header.header_bytes + entry.begin, std::move(shape), mlx_type(path, entry)});
      }
      const std::vector<mx::array> tensors = cuda_upload(path, uploads);
      for (size_t i = 0; i < tensors.size(); ++i) add(header.tensors[i].name, tensors[i]);
    } else {
      for (const auto& [name, tensor] : mx::load_safetensors(path.string()).first) add(name, tensor);
    }
  }
  return weights;
}

Weights::Tensors read_torch_weights(const fs::path& file) {
  const MappedFile mapped(file);
  const ZipFile archive(mapped.bytes(), file.string());
  TensorBuffers buffers;
  Weights::Tensors tensors;
  for (const auto& tensor : read_torch(archive, buffers)) {
    mx::array own = copied(tensor.data, file, tensor.entry);
    own.eval();
    tensors.emplace(tensor.entry.name, std::move(own));
  }
  mapped.check();
  return tensors;
}

}  // namespace mlxk
