#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace mlxk {

/// Bytes that arrive over time. One thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills the front of `into` and returns the count; 0 only at the end. Throws io.
  virtual size_t read(std::span<uint8_t> into) = 0;
  /// Goes to the offset; false if that is not possible (a pipe).
  virtual bool seek(uint64_t offset) = 0;
  /// nullopt: unknown.
  virtual std::optional<uint64_t> size() const = 0;
};

/// The file, closed with the source; throws io.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);
/// The bytes of a descriptor from its current position; it stays open. `place` names it in errors.
std::unique_ptr<ByteSource> descriptor_bytes(int descriptor, std::string place);
/// The caller's bytes, which must outlive the source.
std::unique_ptr<ByteSource> memory_bytes(std::span<const uint8_t> bytes);

}  // namespace mlxk
