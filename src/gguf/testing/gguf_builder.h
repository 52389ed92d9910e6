#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"

namespace mlxk::testing {

/// Writes GGUF bytes, valid or invalid: counts, types and offsets may be set to anything.
class GgufBuilder {
 public:
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, key_count;  // instead of the true ones

  GgufBuilder& key(std::string_view name, GgufKind kind, std::string value) {
    return raw_key(name, static_cast<uint32_t>(kind), std::move(value));
  }
  GgufBuilder& raw_key(std::string_view name, uint32_t kind, std::string value) {
    keys_ += string(name) + bytes(kind) + value;
    ++keys_added_;
    return *this;
  }
  GgufBuilder& u32(std::string_view name, uint32_t value) { return key(name, GgufKind::u32, bytes(value)); }
  GgufBuilder& f32(std::string_view name, float value) { return key(name, GgufKind::f32, bytes(value)); }
  GgufBuilder& boolean(std::string_view name, bool value) {
    return key(name, GgufKind::boolean, std::string(1, value));
  }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    return key(name, GgufKind::string, string(value));
  }
  GgufBuilder& texts(std::string_view name, const std::vector<std::string>& values) {
    std::string all = bytes(static_cast<uint32_t>(GgufKind::string)) + bytes(uint64_t{values.size()});
    for (const auto& value : values) all += string(value);
    return key(name, GgufKind::array, all);
  }
  template <class T>
  GgufBuilder& numbers(std::string_view name, GgufKind element, const std::vector<T>& values) {
    std::string all = bytes(static_cast<uint32_t>(element)) + bytes(uint64_t{values.size()});
    for (const auto value : values) all += bytes(value);
    return key(name, GgufKind::array, all);
  }

  /// `shape` is row-major. The data is placed after the existing data, at a multiple of 32.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& shape, GgmlType type, std::string data) {
    raw_tensor(name, {shape.rbegin(), shape.rend()}, static_cast<uint32_t>(type), data_.size());
    data_ += data;
    data_.resize((data_.size() + 31) / 32 * 32);
    return *this;
  }
  GgufBuilder& raw_tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                          uint64_t offset) {
    tensors_ += string(name) + bytes(static_cast<uint32_t>(dimensions.size()));
    for (const auto size : dimensions) tensors_ += bytes(size);
    tensors_ += bytes(type) + bytes(offset);
    ++tensors_added_;
    return *this;
  }

  std::string build() const {
    std::string file = "GGUF" + bytes(version) + bytes(tensor_count.value_or(tensors_added_)) +
                       bytes(key_count.value_or(keys_added_)) + keys_ + tensors_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }
  /// Bytes before the padding and the data.
  size_t header_size() const { return 24 + keys_.size() + tensors_.size(); }

  template <class T>
  static std::string bytes(T value) {
    std::string out(sizeof value, '\0');
    std::memcpy(out.data(), &value, sizeof value);
    return out;
  }
  static std::string string(std::string_view text) { return bytes(uint64_t{text.size()}) + std::string(text); }

 private:
  uint64_t tensors_added_ = 0, keys_added_ = 0;
  std::string keys_, tensors_, data_;
};

}  // namespace mlxk::testing
