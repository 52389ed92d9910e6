#pragma once

#include <cstddef>
#include <span>

namespace mlxk {

/// Mono sound, at 16 kHz unless asked otherwise, that arrives over time. One thread at a time.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Fills the front of `into` and returns the count; 0 only at the end. Throws decoding errors.
  virtual size_t read(std::span<float> into) = 0;
  /// Asks for `rate` samples a second, before the first read; false: they come at 16 kHz.
  virtual bool use_rate(int /*rate*/) { return false; }
  /// Goes back to the beginning; false if that is not possible (a pipe).
  virtual bool rewind() { return false; }
};

}  // namespace mlxk
