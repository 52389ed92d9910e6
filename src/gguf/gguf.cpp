#include "gguf/gguf.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace mlxk {

namespace {
template <class To, class From>
void append(std::span<const std::byte> raw, std::vector<To>& out) {
  out.reserve(raw.size() / sizeof(From));
  for (size_t at = 0; at < raw.size(); at += sizeof(From)) {
    From value;
    std::memcpy(&value, raw.data() + at, sizeof value);
    out.push_back(static_cast<To>(value));
  }
}
}  // namespace

uint64_t GgufTensor::rows() const {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

void GgufFile::wrong_type(std::string_view key, const char* wanted) const {
  const auto kind = static_cast<uint32_t>(metadata_.at(key).kind);
  throw Error(ErrorKind::bad_model,
              fmt::format("[gguf] {}: key {} must be {}, its type is {}", place_, key, wanted, kind));
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  if (const auto* value = std::get_if<int64_t>(&found->second.value)) return *value;
  const auto* value = std::get_if<uint64_t>(&found->second.value);
  if (!value) wrong_type(key, "an integer");
  if (*value > INT64_MAX) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[gguf] {}: key {} is {}, past the largest integer", place_, key, *value));
  }
  return static_cast<int64_t>(*value);
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  if (const auto* value = std::get_if<double>(&found->second.value)) return *value;
  const auto value = integer(key);
  return static_cast<double>(*value);
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  const auto* value = std::get_if<bool>(&found->second.value);
  if (!value) wrong_type(key, "a truth value");
  return *value;
}

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::nullopt;
  const auto* value = std::get_if<std::string_view>(&found->second.value);
  if (!value) wrong_type(key, "a string");
  return *value;
}

const GgufArray* GgufFile::array(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  const auto* value = std::get_if<GgufArray>(&found->second.value);
  if (!value) wrong_type(key, "an array");
  return value;
}

const std::vector<std::string_view>* GgufFile::strings(std::string_view key) const {
  const auto* values = array(key);
  if (!values) return nullptr;
  if (values->element != GgufKind::string) wrong_type(key, "an array of strings");
  return &values->strings;
}

std::optional<std::vector<int64_t>> GgufFile::integers(std::string_view key) const {
  const auto* values = array(key);
  if (!values) return std::nullopt;
  std::vector<int64_t> out;
  switch (values->element) {
    case GgufKind::u8: append<int64_t, uint8_t>(values->raw, out); break;
    case GgufKind::i8: append<int64_t, int8_t>(values->raw, out); break;
    case GgufKind::u16: append<int64_t, uint16_t>(values->raw, out); break;
    case GgufKind::i16: append<int64_t, int16_t>(values->raw, out); break;
    case GgufKind::u32: append<int64_t, uint32_t>(values->raw, out); break;
    case GgufKind::i32: append<int64_t, int32_t>(values->raw, out); break;
    case GgufKind::i64: append<int64_t, int64_t>(values->raw, out); break;
    default: wrong_type(key, "an array of integers");
  }
  return out;
}

std::optional<std::vector<float>> GgufFile::floats(std::string_view key) const {
  const auto* values = array(key);
  if (!values) return std::nullopt;
  std::vector<float> out;
  switch (values->element) {
    case GgufKind::f32: append<float, float>(values->raw, out); break;
    case GgufKind::f64: append<float, double>(values->raw, out); break;
    default: wrong_type(key, "an array of numbers");
  }
  return out;
}

}  // namespace mlxk
