#include "cpu/scan.h"

#include <algorithm>
#include <cmath>

#include "cpu/features.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace mlxk {
namespace {

float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

/// Writes zeros past the end of a row's tokens.
void clear_rest(int64_t rows, int64_t length, int64_t width, const int64_t* lengths, float* y) {
  for (int64_t row = 0; row < rows; ++row) {
    std::fill(y + (row * length + lengths[row]) * width, y + (row + 1) * length * width, 0.0F);
  }
}

/// The state before a row's first token: `before`, or h, set to `before` or zeros, if `before` is null or the row
/// has no tokens.
const float* first_state(const float* before, int64_t length, int64_t size, float* h) {
  if (before && length > 0) return before;
  before ? std::copy_n(before, size, h) : std::fill_n(h, size, 0.0F);
  return h;
}

void scan_by_state(const SelectiveScanProblem& p) {
  constexpr int64_t kPart = 64;  // channels whose states stay in the first-level cache from token to token
  const int64_t parts = (p.heads + kPart - 1) / kPart, size = p.states * p.heads;
  parallel_for(p.rows * parts, grain_of(p.length * p.states * kPart * 4), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / parts, from = i % parts * kPart, channels = std::min(kPart, p.heads - from);
      float* h = p.h + row * size + from;
      const float* before = p.before ? p.before + row * size + from : nullptr;
      if (!before || p.lengths[row] == 0) {
        for (int64_t k = 0; k < p.states; ++k) {
          float* to = h + k * p.heads;
          before ? std::copy_n(before + k * p.heads, channels, to) : std::fill_n(to, channels, 0.0F);
        }
        before = h;
      }
      const ScanChannels block{.x = p.x.at(row) + from,
                               .dt = p.dt.at(row) + from,
                               .b = p.b.at(row),
                               .c = p.c.at(row),
                               .a = p.a + from,
                               .dt_bias = p.dt_bias ? p.dt_bias + from : nullptr,
                               .skip = p.skip + from,
                               .dt_min = p.dt_min,
                               .dt_max = p.dt_max,
                               .before = before,
                               .h = h,
                               .y = p.y + row * p.length * p.heads + from,
                               .stride = p.heads,
                               .x_stride = p.x.token,
                               .dt_stride = p.dt.token,
                               .b_stride = p.b.token,
                               .c_stride = p.c.token,
                               .y_stride = p.heads,
                               .channels = channels,
                               .states = p.states,
                               .length = p.lengths[row]};
      cpu_kernels().scan_channels(&block);
    }
  });
}

void scan_by_head(const SelectiveScanProblem& p) {
  static Scratch scratch;
  float* all_steps = scratch.floats(p.rows * p.heads * p.length);
  const int64_t cost = p.length * p.dim * p.states * 4;
  parallel_for(p.rows * p.heads, grain_of(cost), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / p.heads, head = i % p.heads, group = head * p.groups / p.heads;
      const int64_t length = p.lengths[row], width = p.heads * p.dim, size = p.dim * p.states;
      float *steps = all_steps + i * p.length, *h = p.h + i * size;
      const float* dt = p.dt.at(row) + head;
      const float bias = p.dt_bias ? p.dt_bias[head] : 0;
      for (int64_t t = 0; t < length; ++t) {
        steps[t] = std::min(std::max(softplus(dt[t * p.dt.token] + bias), p.dt_min), p.dt_max);
      }
      const ScanHead one{.x = p.x.at(row) + head * p.dim,
                         .dt = steps,
                         .b = p.b.at(row) + group * p.states,
                         .c = p.c.at(row) + group * p.states,
                         .a = p.a[head],
                         .skip = p.skip[head],
                         .before = first_state(p.before ? p.before + i * size : nullptr, length, size, h),
                         .h = h,
                         .y = p.y + row * p.length * width + head * p.dim,
                         .x_stride = p.x.token,
                         .b_stride = p.b.token,
                         .c_stride = p.c.token,
                         .y_stride = width,
                         .dim = p.dim,
                         .states = p.states,
                         .length = length};
      cpu_kernels().scan_head(&one);
    }
  });
}

}  // namespace

void selective_scan(const SelectiveScanProblem& p) {
  clear_rest(p.rows, p.length, p.heads * p.dim, p.lengths, p.y);
  p.by_state ? scan_by_state(p) : scan_by_head(p);
}

void delta_rule(const DeltaRuleProblem& p) {
  const int64_t width = p.heads * p.dim;
  clear_rest(p.rows, p.length, width, p.lengths, p.y);
  parallel_for(p.rows * p.heads, grain_of(p.length * p.dim * p.dim * 6), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / p.heads, at = row * p.length * width + i % p.heads * p.dim, size = p.dim * p.dim;
      float* h = p.h + i * size;
      const DeltaHead one{.r = p.r + at,
                          .w = p.w + at,
                          .k = p.k + at,
                          .v = p.v + at,
                          .a = p.a + at,
                          .b = p.b + at,
                          .before = first_state(p.before ? p.before + i * size : nullptr, p.lengths[row], size, h),
                          .h = h,
                          .y = p.y + at,
                          .stride = width,
                          .dim = p.dim,
                          .length = p.lengths[row]};
      cpu_kernels().delta_head(&one);
    }
  });
}

void linear_recurrence(int64_t rows, int64_t length, int64_t width, const int64_t* lengths, const float* a,
                       const float* x, const float* before, float* h, float* y) {
  clear_rest(rows, length, width, lengths, y);
  constexpr int64_t kPart = 256;  // numbers that stay in the first-level cache from token to token
  const int64_t parts = (width + kPart - 1) / kPart;
  parallel_for(rows * parts, grain_of(length * kPart * 4), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / parts, from = i % parts * kPart, to = std::min(width, from + kPart);
      float* state = h + row * width;
      before ? std::copy_n(before + row * width + from, to - from, state + from)
             : std::fill_n(state + from, to - from, 0.0F);
      for (int64_t t = 0; t < lengths[row]; ++t) {
        const int64_t at = (row * length + t) * width;
        for (int64_t j = from; j < to; ++j) y[at + j] = state[j] = a[at + j] * state[j] + x[at + j];
      }
    }
  });
}

}  // namespace mlxk
