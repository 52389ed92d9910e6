#pragma once

#include <cstddef>
#include <span>

namespace mlxk {

/// Sound at 16 kHz, one channel, as it comes. One thread at a time.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Fills the front of `into` and returns how many; 0 only at the end. Throws what decoding throws.
  virtual size_t read(std::span<float> into) = 0;
  /// Goes back to the beginning; false where that cannot be (a pipe).
  virtual bool rewind() { return false; }
};

}  // namespace mlxk
