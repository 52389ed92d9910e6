#pragma once

#include <complex>
#include <span>
#include <vector>

namespace mlxk {

/// A discrete Fourier transform of a power of 2, by halves. Immutable; any thread.
class Radix2 {
 public:
  /// `size` must be a power of 2.
  explicit Radix2(int size);
  int size() const { return 2 * static_cast<int>(roots_.size()); }
  /// Transforms `x` [size] in place.
  void operator()(std::span<std::complex<double>> x) const;

 private:
  std::vector<std::complex<double>> roots_;  // e^(-2πi k / size)
};

}  // namespace mlxk
