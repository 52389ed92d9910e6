#pragma once

#include <cstddef>
#include <cstdint>

namespace mlxk {

/// Memory that a kernel works in; it grows and never shrinks. Aligned to 64 bytes.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// At least `bytes`; the content of an earlier call is lost.
  void* bytes(size_t bytes);
  float* floats(int64_t count) { return static_cast<float*>(bytes(static_cast<size_t>(count) * sizeof(float))); }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace mlxk
