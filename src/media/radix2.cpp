#include "media/radix2.h"

#include <cmath>
#include <utility>

namespace mlxk {

Radix2::Radix2(int size) {
  for (int k = 0; k < size / 2; ++k) roots_.push_back(std::polar(1.0, -2 * M_PI * k / size));
}

void Radix2::operator()(std::span<std::complex<double>> x) const {
  const size_t size = 2 * roots_.size();
  for (size_t i = 1, j = 0; i < size; ++i) {
    size_t bit = size / 2;
    for (; j & bit; bit /= 2) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(x[i], x[j]);
  }
  for (size_t half = 1; half < size; half *= 2) {
    for (size_t begin = 0; begin < size; begin += 2 * half) {
      for (size_t k = 0; k < half; ++k) {
        const std::complex<double> a = x[begin + half + k], b = roots_[k * (size / 2 / half)];
        const std::complex<double> odd(a.real() * b.real() - a.imag() * b.imag(),
                                       a.real() * b.imag() + a.imag() * b.real());
        x[begin + half + k] = x[begin + k] - odd;
        x[begin + k] += odd;
      }
    }
  }
}

}  // namespace mlxk
