#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace mlxk {

/// A tensor as written to the file.
struct OutputTensor {
  std::string name;
  const char* dtype;  // the format's word: "F16", "U32" …
  uint64_t element_bytes;
  std::vector<uint64_t> shape;

  uint64_t bytes() const;
};

/// Writes model.safetensors, or shards of at most `max_shard` bytes, and their index; the layout is known beforehand,
/// the data may arrive in any order and in pieces, so no tensor is ever held whole.
class SafetensorsWriter {
 public:
  /// Creates the files in `folder` with their headers and reserves their space on the disk; throws io, before anything
  /// is written if the disk has too little. `parameters` is the model's size for the index.
  SafetensorsWriter(const std::filesystem::path& folder, std::vector<OutputTensor> tensors, uint64_t parameters,
                    uint64_t max_shard = uint64_t{5} << 30);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  const std::vector<OutputTensor>& tensors() const { return tensors_; }
  /// Puts `data` at byte `offset` of tensor `index`; throws io.
  void write(size_t index, uint64_t offset, std::span<const std::byte> data);
  /// Flushes to the disk and writes the index; throws internal if a tensor is not complete, io.
  void finish();

 private:
  struct Place {
    size_t shard;
    uint64_t offset, written;
  };
  struct Shard {
    std::filesystem::path path;
    int fd;
  };
  void create_shard(const std::filesystem::path& path, size_t first, size_t last);
  void write_index(uint64_t total) const;

  std::filesystem::path folder_;
  std::vector<OutputTensor> tensors_;
  uint64_t parameters_;
  std::vector<Place> places_;
  std::vector<Shard> shards_;
};

/// Throws io, naming both, if the disk under `folder` has fewer than `bytes` free.
void check_free_space(const std::filesystem::path& folder, uint64_t bytes);

}  // namespace mlxk
