#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "gguf/ggml_type.h"

namespace mlxk {

/// The types of a metadata value; the numbers are the file's.
enum class GgufKind : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

struct GgufArray {
  GgufKind element;
  uint64_t count;
  std::span<const std::byte> raw;         // elements of fixed size
  std::vector<std::string_view> strings;  // if element is string; nested arrays are checked, not kept
};

struct GgufValue {
  GgufKind kind;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

struct GgufTensor {
  std::string_view name;
  GgmlType type;
  std::vector<uint64_t> shape;  // row-major, as in other formats: the last dimension is contiguous
  std::span<const std::byte> data;

  uint64_t columns() const { return shape.back(); }
  uint64_t rows() const;
};

/// A GGUF file of version 2 or 3, fully validated before any of it is used: counts, lengths, types, offsets, overlaps,
/// names. Every error is bad_model (unsupported for a version) and names file, key or tensor, and value. Views point
/// into the file's bytes, which live as long as this object. Any thread.
class GgufFile {
 public:
  /// Maps and validates; throws io, bad_model, unsupported.
  static GgufFile open(const std::filesystem::path& path);
  /// Validates bytes that must outlive the result; `place` names them in errors.
  static GgufFile parse(std::span<const std::byte> bytes, std::string place);

  uint32_t version() const { return version_; }
  const std::string& place() const { return place_; }
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  /// In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;
  bool has(std::string_view key) const { return metadata_.count(key) > 0; }

  /// Values by key: absent if there is no such key, bad_model if it has another type or is out of range.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;
  const std::vector<std::string_view>* strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<float>> floats(std::string_view key) const;

  /// Throws io if part of the file could not be read since it was opened.
  void check() const {
    if (file_) file_->check();
  }

 private:
  friend class GgufParser;
  const GgufArray* array(std::string_view key) const;
  [[noreturn]] void wrong_type(std::string_view key, const char* wanted) const;

  std::optional<MappedFile> file_;
  std::string place_;
  uint32_t version_ = 0;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> by_name_;
};

}  // namespace mlxk
