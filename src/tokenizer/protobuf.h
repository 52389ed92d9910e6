#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace mlxk {

/// Walks the fields of one protobuf message; throws std::runtime_error if the bytes are not one.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view message) : rest_(message) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = read_varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    wire_ = static_cast<int>(tag & 7);
    switch (wire_) {
      case 0: value_ = read_varint(); break;
      case 1: payload_ = take(8); break;
      case 2: payload_ = take(read_varint()); break;
      case 5: payload_ = take(4); break;
      default: throw std::runtime_error("not a protobuf message");
    }
    return true;
  }

  uint32_t field() const { return field_; }
  int64_t varint() const { return expect(0), static_cast<int64_t>(value_); }
  std::string_view bytes() const { return expect(2), payload_; }
  float float32() const {
    expect(5);
    float value;
    std::memcpy(&value, payload_.data(), 4);
    return value;
  }

 private:
  void expect(int wire) const {
    if (wire_ != wire) throw std::runtime_error("a protobuf field has the wrong type");
  }

  std::string_view take(uint64_t size) {
    if (size > rest_.size()) throw std::runtime_error("a protobuf field is truncated");
    const std::string_view part = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return part;
  }

  uint64_t read_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) return value;
    }
    throw std::runtime_error("a protobuf number is too long");
  }

  std::string_view rest_, payload_;
  uint32_t field_ = 0;
  int wire_ = -1;
  uint64_t value_ = 0;
};

}  // namespace mlxk
