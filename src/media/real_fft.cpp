// A real transform of 400 as a complex one of 200 = 8 · 5 · 5, decimated in time.
#include "media/real_fft.h"

#include <array>
#include <cmath>
#include <vector>

namespace mlxk {

namespace {

constexpr int kHalf = kFftSize / 2;
constexpr int kLanes = kFftLanes;

struct Turn {
  float cosine, sine;
};

/// e^(-2πi k / n) for k in [0, n).
std::vector<Turn> circle(int n) {
  std::vector<Turn> turns;
  for (int k = 0; k < n; ++k) {
    const double angle = -2 * M_PI * k / n;
    turns.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
  }
  return turns;
}

const std::vector<Turn>& half_circle() {
  static const std::vector<Turn> turns = circle(kHalf);
  return turns;
}

const std::vector<Turn>& whole_circle() {
  static const std::vector<Turn> turns = circle(kFftSize);
  return turns;
}

struct Number {
  float re[kLanes], im[kLanes];
};

inline Number turned(const Number& x, Turn turn) {
  Number y;
  for (int l = 0; l < kLanes; ++l) {
    y.re[l] = x.re[l] * turn.cosine - x.im[l] * turn.sine;
    y.im[l] = x.re[l] * turn.sine + x.im[l] * turn.cosine;
  }
  return y;
}

inline void add(Number& to, const Number& x) {
  for (int l = 0; l < kLanes; ++l) {
    to.re[l] += x.re[l];
    to.im[l] += x.im[l];
  }
}

/// One pass of radix R over transforms of `size` made of R smaller ones: in [block][part][k] → out [block][part * k].
template <int R>
void combine(const Number* in, Number* out, int size) {
  const int part = size / R, step = kHalf / size;
  const auto& turns = half_circle();
  for (int block = 0; block < kHalf / size; ++block, in += size, out += size) {
    for (int k = 0; k < part; ++k) {
      std::array<Number, R> x;
      x[0] = in[k];
      for (int r = 1; r < R; ++r)
        x[static_cast<size_t>(r)] = turned(in[r * part + k], turns[static_cast<size_t>(r * k * step)]);
      for (int q = 0; q < R; ++q) {
        Number sum = x[0];
        for (int r = 1; r < R; ++r) {
          add(sum, turned(x[static_cast<size_t>(r)], turns[static_cast<size_t>(q * r % R * (kHalf / R))]));
        }
        out[q * part + k] = sum;
      }
    }
  }
}

/// The order of the inputs of the smallest transforms.
std::array<int, kHalf> input_order() {
  std::array<int, kHalf> order{};
  // 200 = 5 · 40, 40 = 5 · 8, 8 = 2 · 4, 4 = 2 · 2, 2 = 2 · 1: part r of a transform takes every R-th input from r on.
  const std::array<int, 5> radices{5, 5, 2, 2, 2};
  for (int i = 0; i < kHalf; ++i) {
    int place = i, stride = 1, at = 0, size = kHalf;
    for (const int radix : radices) {
      size /= radix;
      at += place / size * stride;
      place %= size;
      stride *= radix;
    }
    order[static_cast<size_t>(i)] = at;
  }
  return order;
}

}  // namespace

void power_spectra(float* x, float* power) {
  static const std::array<int, kHalf> order = input_order();
  Number a[kHalf], b[kHalf];
  for (int i = 0; i < kHalf; ++i) {
    const float* pair = x + 2 * order[static_cast<size_t>(i)] * kLanes;
    for (int l = 0; l < kLanes; ++l) {
      a[i].re[l] = pair[l];
      a[i].im[l] = pair[kLanes + l];
    }
  }
  combine<2>(a, b, 2);
  combine<2>(b, a, 4);
  combine<2>(a, b, 8);
  combine<5>(b, a, 40);
  combine<5>(a, b, 200);
  // Separates the transforms of the even and the odd samples, then combines them.
  const auto& turns = whole_circle();
  for (int k = 0; k <= kHalf; ++k) {
    const Number &u = b[k % kHalf], &v = b[(kHalf - k) % kHalf];
    const Turn turn = turns[static_cast<size_t>(k)];
    for (int l = 0; l < kLanes; ++l) {
      const float even_re = (u.re[l] + v.re[l]) * 0.5F, even_im = (u.im[l] - v.im[l]) * 0.5F;
      const float odd_re = (u.im[l] + v.im[l]) * 0.5F, odd_im = (v.re[l] - u.re[l]) * 0.5F;
      const float re = even_re + odd_re * turn.cosine - odd_im * turn.sine;
      const float im = even_im + odd_re * turn.sine + odd_im * turn.cosine;
      power[k * kLanes + l] = re * re + im * im;
    }
  }
}

}  // namespace mlxk
