#pragma once

#include <cstddef>
#include <span>

namespace mlxk {

/// Mono sound at 16 kHz that arrives over time. One thread at a time.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Fills the front of `into` and returns the count; 0 only at the end. Throws decoding errors.
  virtual size_t read(std::span<float> into) = 0;
  /// Goes back to the beginning; false if that is not possible (a pipe).
  virtual bool rewind() { return false; }
};

}  // namespace mlxk
