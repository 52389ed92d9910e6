#include "convert/safetensors_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"

namespace mlxk {

namespace {
[[noreturn]] void fail(const char* what, const fs::path& path) {
  throw Error(ErrorKind::io, fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

void write_all(int fd, const fs::path& path, std::span<const std::byte> data, uint64_t offset) {
  while (!data.empty()) {
    const auto count = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("write", path);
    }
    data = data.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
}
}  // namespace

uint64_t OutputTensor::bytes() const {
  uint64_t bytes = element_bytes;
  for (const auto size : shape) bytes *= size;
  return bytes;
}

void check_free_space(const fs::path& folder, uint64_t bytes) {
  std::error_code failed;
  const auto space = fs::space(folder, failed);
  if (failed || space.available >= bytes) return;
  throw Error(ErrorKind::io, fmt::format("the result takes {:.1f} MB, the disk under {} has {:.1f} MB free",
                                         static_cast<double>(bytes) / 1e6, folder.parent_path().parent_path().string(),
                                         static_cast<double>(space.available) / 1e6));
}

SafetensorsWriter::SafetensorsWriter(const fs::path& folder, std::vector<OutputTensor> tensors, uint64_t parameters,
                                     uint64_t max_shard)
    : folder_(folder), tensors_(std::move(tensors)), parameters_(parameters) {
  uint64_t total = 0;
  for (const auto& tensor : tensors_) total += tensor.bytes();
  check_free_space(folder, total);
  std::vector<size_t> firsts{0};
  uint64_t size = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (size > 0 && size + tensors_[i].bytes() > max_shard) {
      firsts.push_back(i);
      size = 0;
    }
    size += tensors_[i].bytes();
  }
  firsts.push_back(tensors_.size());
  const size_t count = firsts.size() - 1;
  for (size_t i = 0; i < count; ++i) {
    const auto name = count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, count);
    create_shard(folder / name, firsts[i], firsts[i + 1]);
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  for (const auto& shard : shards_) close(shard.fd);
}

void SafetensorsWriter::create_shard(const fs::path& path, size_t first, size_t last) {
  std::string header = R"({"__metadata__":{"format":"mlx"})";
  uint64_t offset = 0;
  for (size_t i = first; i < last; ++i) {
    const auto& tensor = tensors_[i];
    const uint64_t end = offset + tensor.bytes();
    header += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", Json(tensor.name).dump(),
                          tensor.dtype, fmt::join(tensor.shape, ","), offset, end);
    places_.push_back({shards_.size(), offset, 0});
    offset = end;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) fail("create", path);
  shards_.push_back({path, fd});
  const uint64_t size = header.size();
  write_all(fd, path, std::as_bytes(std::span(&size, 1)), 0);
  write_all(fd, path, std::as_bytes(std::span(header)), sizeof size);
  for (size_t i = first; i < last; ++i) places_[i].offset += sizeof size + header.size();
#ifdef __linux__
  // Reserves space, so that a full disk is noticed now and not after an hour; if the file system cannot reserve space,
  // it is noticed later.
  const auto whole = static_cast<off_t>(sizeof size + header.size() + offset);
  if (fallocate(fd, 0, 0, whole) != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)) fail("write", path);
#endif
}

void SafetensorsWriter::write(size_t index, uint64_t offset, std::span<const std::byte> data) {
  auto& place = places_.at(index);
  if (offset + data.size() > tensors_[index].bytes()) {
    throw Error(ErrorKind::internal,
                fmt::format("[convert] {} bytes at {} do not fit into {}", data.size(), offset, tensors_[index].name));
  }
  const auto& shard = shards_[place.shard];
  write_all(shard.fd, shard.path, data, place.offset + offset);
  place.written += data.size();
}

void SafetensorsWriter::finish() {
  uint64_t total = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto& tensor = tensors_[i];
    if (places_[i].written != tensor.bytes()) {
      throw Error(ErrorKind::internal, fmt::format("[convert] {} of {} bytes of {} were written", places_[i].written,
                                                   tensor.bytes(), tensor.name));
    }
    total += tensor.bytes();
  }
  for (const auto& shard : shards_) {
    if (fsync(shard.fd) != 0) fail("flush", shard.path);
  }
  write_index(total);
}

void SafetensorsWriter::write_index(uint64_t total) const {
  std::map<std::string_view, size_t> sorted;
  for (size_t i = 0; i < tensors_.size(); ++i) sorted[tensors_[i].name] = i;
  std::string index = fmt::format(
      "{{\n    \"metadata\": {{\n        \"total_size\": {},\n        \"total_parameters\": {}\n    }},\n"
      "    \"weight_map\": {{",
      total, parameters_);
  const char* comma = "";
  for (const auto& [name, i] : sorted) {
    index += fmt::format("{}\n        {}: \"{}\"", comma, Json(name).dump(),
                         shards_[places_[i].shard].path.filename().string());
    comma = ",";
  }
  write_file_atomic(folder_ / "model.safetensors.index.json", index + "\n    }\n}\n");
}

}  // namespace mlxk
