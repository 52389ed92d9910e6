#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace mlxk {

/// Samples without a header: 16-bit little-endian, or G.711's two laws.
enum class RawFormat { s16le, ulaw, alaw };

/// Raw mono sound that arrives over time, as samples at 16 kHz. One thread at a time.
class RawSound {
 public:
  /// Throws invalid for a rate that is not supported (1,000 to 768,000 Hz).
  RawSound(RawFormat format, int rate);
  ~RawSound();
  RawSound(RawSound&&) noexcept;
  RawSound& operator=(RawSound&&) noexcept;

  /// Appends to `out` what `bytes` make available; up to 0.1 s of it comes with later bytes. A half sample waits for
  /// its other half.
  void push(std::string_view bytes, std::vector<float>& out);
  /// Appends the rest, and begins anew.
  void finish(std::vector<float>& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Mono samples at `rate` a second as samples at `target`. Throws invalid for a rate that is not supported.
std::vector<float> resampled(std::span<const float> samples, int rate, int target);

}  // namespace mlxk
