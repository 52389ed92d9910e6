#include "cpu/conv.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/threads.h"

namespace mlxk {

namespace {

/// Floats of patches that are made at a time: enough to repay unpacking the weights, few enough for a cache.
constexpr int64_t kPatchFloats = int64_t{1} << 20;

/// Calls tap(t, source) for each of the kernel's positions at output position `at`, with the input's channels there, or
/// null in the padding.
template <class Tap>
void for_each_tap(const ConvShape& s, const std::array<int64_t, 2>& out, int64_t at, const float* x, const Tap& tap) {
  const int64_t column = at % out[1], row = at / out[1] % out[0], image = at / out[1] / out[0];
  const float* from = x + image * s.in[0] * s.in[1] * s.channels;
  for (int64_t i = 0; i < s.kernel[0]; ++i) {
    const int64_t h = row * s.stride[0] - s.padding[0] + i * s.dilation[0];
    for (int64_t j = 0; j < s.kernel[1]; ++j) {
      const int64_t w = column * s.stride[1] - s.padding[1] + j * s.dilation[1];
      const bool inside = h >= 0 && h < s.in[0] && w >= 0 && w < s.in[1];
      tap(i * s.kernel[1] + j, inside ? from + (h * s.in[1] + w) * s.channels : nullptr);
    }
  }
}

/// One output channel for each input channel: sums over the kernel for adjacent channels at once.
void convolve_depthwise(const ConvShape& s, const MatrixView& weight, const float* x, float* y) {
  const auto out = s.out();
  const int64_t taps = s.kernel[0] * s.kernel[1];
  const auto* w = static_cast<const float*>(weight.data);
  parallel_for(s.batch * out[0] * out[1], grain_of(s.channels * taps), [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      float* to = y + at * s.channels;
      if (weight.bias) {
        std::copy_n(weight.bias, s.channels, to);
      } else {
        std::fill_n(to, s.channels, 0.0F);
      }
      for_each_tap(s, out, at, x, [&](int64_t t, const float* from) {
        if (!from) return;
        const float* factor = w + t * s.channels;
        for (int64_t c = 0; c < s.channels; ++c) to[c] += from[c] * factor[c];
      });
    }
  });
}

/// patches[i] = the part of the input that group `group` sees at position first + i, in the order of the weight's rows.
void make_patches(const ConvShape& s, const float* x, int64_t first, int64_t count, int64_t group, float* patches) {
  const auto out = s.out();
  const int64_t channels = s.channels / s.groups, size = s.patch();
  parallel_for(count, grain_of(size * 4), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      for_each_tap(s, out, first + i, x, [&](int64_t t, const float* from) {
        float* to = patches + i * size + t * channels;
        const size_t bytes = static_cast<size_t>(channels) * sizeof(float);
        from ? std::memcpy(to, from + group * channels, bytes) : std::memset(to, 0, bytes);
      });
    }
  });
}

/// Whether the input's floats, in memory order, already are the patches one after the other.
bool is_its_patches(const ConvShape& s) {
  const bool whole_rows =
      s.kernel[0] == 1 && s.stride[0] == 1 && s.kernel[1] == s.stride[1] && s.in[1] % s.stride[1] == 0;
  return s.groups == 1 && whole_rows && s.padding[0] == 0 && s.padding[1] == 0 &&
         (s.kernel[1] == 1 || s.dilation[1] == 1);
}

}  // namespace

std::array<int64_t, 2> ConvShape::out() const {
  std::array<int64_t, 2> size{};
  for (size_t d = 0; d < 2; ++d) {
    const int64_t room = in[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    size[d] = room < 0 ? 0 : room / stride[d] + 1;
  }
  return size;
}

void convolve(const ConvShape& s, const MatrixView& weight, const float* x, float* y, Phase phase) {
  const auto out = s.out();
  const int64_t positions = s.batch * out[0] * out[1], size = s.patch();
  if (positions == 0 || s.out_channels == 0) return;
  if (s.depthwise()) return convolve_depthwise(s, weight, x, y);
  static Scratch patch_scratch, product_scratch;
  const int64_t at_once = std::max<int64_t>(64, kPatchFloats / std::max<int64_t>(size, 1));
  const int64_t rows = s.out_channels / s.groups;
  for (int64_t first = 0; first < positions; first += at_once) {
    const int64_t count = std::min(at_once, positions - first);
    for (int64_t g = 0; g < s.groups; ++g) {
      const float* patches = x + first * size;
      if (!is_its_patches(s)) {
        float* made = patch_scratch.floats(count * size);
        make_patches(s, x, first, count, g, made);
        patches = made;
      }
      MatrixView part = weight;
      part.data = static_cast<const char*>(weight.data) + g * rows * size * (weight.type == kFloat32 ? 4 : 2);
      part.bias = weight.bias ? weight.bias + g * rows : nullptr;
      part.rows = rows;
      float* to = y + first * s.out_channels;
      float* const product = s.groups == 1 ? to : product_scratch.floats(count * rows);
      multiply({&part, 1}, patches, count, {&product, 1}, encodes(phase) ? phase : Phase::prefill);
      if (s.groups == 1) continue;
      for (int64_t i = 0; i < count; ++i) std::copy_n(product + i * rows, rows, to + i * s.out_channels + g * rows);
    }
  }
}

}  // namespace mlxk
