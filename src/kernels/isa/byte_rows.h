// Decode with weights of 4 and 8 bits where an instruction multiplies bytes: weights as bytes, activations as two digits of 8
// bits. The products of a unit of 32 columns add up exactly in integers, in whatever order. Few activation rows are
// multiplied with four weight rows at a time as these lie in memory; more of them with panels, where a lane is a weight row.
// What becomes of a unit's sum is the same in both: unit u is added to sum u mod 4 of its row, in the order of u.

static constexpr int kByteUnit = 32, kByteChunk = 128;  // columns; a chunk of activations: four vectors, the upper digits first
static constexpr int kChunkUnits = kByteChunk / kByteUnit;
static constexpr int kDigitBytes = 2 * kByteChunk;
static constexpr float kLargestDigits = 127 * 256 + 127;

static bool takes_bytes(int group, int bits) { return (bits == 4 || bits == 8) && group >= kByteUnit; }

static void byte_layout(int64_t columns, QuantizedRows* rows) {
  // A cache line more than whole chunks: rows that are a power of two apart would compete for the same lines.
  rows->stride = (columns + kByteChunk - 1) / kByteChunk * kByteChunk + 32;
  rows->units = rows->groups = padded(columns / kByteUnit);
}

/// Two vectors of a unit: with 4 bits its even and its odd columns, with 8 bits its halves. `to` are upper digits.
static inline void store_digits(vi first, vi second, int64_t second_at, uint8_t* to) {
  const vi half = i_set(128);
  b_store(to, i_shift_right_signed(i_add(first, half), 8));
  b_store(to + second_at, i_shift_right_signed(i_add(second, half), 8));
  b_store(to + kByteChunk, first);
  b_store(to + kByteChunk + second_at, second);
}

static void quantize_bytes(const float* x, int64_t columns, int bits, const QuantizedRows* out, int64_t row) {
  uint8_t* q = (uint8_t*)(out->q + row * out->stride);
  float *scales = out->scales + row * out->units, *sums = out->sums + row * out->groups;
  memset(scales, 0, (size_t)out->units * sizeof(float));
  memset(sums, 0, (size_t)out->groups * sizeof(float));
  const int64_t units = columns / kByteUnit;
  if (units % kChunkUnits) memset(q + units / kChunkUnits * kDigitBytes, 0, kDigitBytes);
  for (int64_t u = 0; u < units; ++u, x += kByteUnit) {
    const vf a = f_load(x), b = f_load(x + kLanes), invalid = f_add(f_sub(a, a), f_sub(b, b));
    // A unit of zeros, or so small that the inverse overflows, counts as zeros.
    const float most = f_greatest(f_max(f_abs(b), f_abs(a))), limit = most > 1e-33F ? most : 1e-33F;
    const vf inverse = f_set(kLargestDigits / limit);
    const vi low = i_from_float(f_mul(a, inverse)), high = i_from_float(f_mul(b, inverse));
    scales[u] = limit * (1.0F / kLargestDigits);
    // The sum is that of the rounded values: then the rounding errors meet scale * q + bias, not scale * q alone. NaN and
    // infinity reach the result through the last term.
    sums[u] = scales[u] * f_sum(f_add(f_from_int(i_add(low, high)), invalid));
    uint8_t* to = q + u / kChunkUnits * kDigitBytes;
    if (bits == 4) {
      store_digits(i_every_second(low, high, 0), i_every_second(low, high, 1), kByteChunk / 2, to + u % kChunkUnits * kLanes);
    } else {
      store_digits(low, high, kLanes, to + u % kChunkUnits * kByteUnit);
    }
  }
}

/// The `left` columns of a chunk of weights (all of them if Whole) as two vectors of bytes, in the order of the digits.
template <int Bits, bool Whole>
static inline void load_bytes(const uint8_t* p, int64_t left, vi* v) {
  if constexpr (Bits == 4) {
    const vi packed = Whole ? i_load(p) : i_load_bytes(p, (int)(left / 2)), nibbles = i_set(0x0F0F0F0F);
    v[0] = i_and(packed, nibbles);
    v[1] = i_and(h_shift_right(packed, 4), nibbles);
  } else {
    v[0] = Whole || left >= 64 ? i_load(p) : i_load_bytes(p, (int)left);
    v[1] = Whole ? i_load(p + 64) : left > 64 ? i_load_bytes(p + 64, (int)left - 64) : i_zero();
  }
}

/// The sums of a chunk's units: lane 4 j + a is unit j of weight row a.
template <int Bits>
static inline vi unit_sums(const vi (*weights)[2], const uint8_t* q) {
  const vi upper[2] = {i_load(q), i_load(q + 64)}, lower[2] = {i_load(q + 128), i_load(q + 192)};
  vi sum[2][4];
#pragma GCC unroll 4
  for (int a = 0; a < 4; ++a) {
    if constexpr (Bits == 4) {
      vi s = b_multiply_add(b_multiply_add(i_zero(), weights[a][0], upper[0]), weights[a][1], upper[1]);
      sum[0][a] = b_multiply_add(b_multiply_add(i_times_256(s), weights[a][0], lower[0]), weights[a][1], lower[1]);
    } else {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const vi s = b_multiply_add(i_zero(), weights[a][half], upper[half]);
        sum[half][a] = b_multiply_add(i_times_256(s), weights[a][half], lower[half]);
      }
    }
  }
  if constexpr (Bits == 4) return i_sums_of_four(sum[0]);
  return i_joined_quarters(i_sums_of_four(sum[0]), i_sums_of_four(sum[1]));
}

template <int Bits, int X, bool Whole>
static inline void byte_chunk(const uint8_t* const* rows, int64_t k, int64_t left, vf scale, vf bias, const QuantizedRows* x,
                              int64_t r, vf* acc) {
  vi weights[4][2];
#pragma GCC unroll 4
  for (int a = 0; a < 4; ++a) load_bytes<Bits, Whole>(rows[a] + k * Bits / 8, left, weights[a]);
  const uint8_t* q = (const uint8_t*)(x->q + r * x->stride) + 2 * k;
  const int64_t unit = k / kByteUnit;
#pragma GCC unroll 4
  for (int b = 0; b < X; ++b) {
    const vi sum = unit_sums<Bits>(weights, q + 2 * b * x->stride);
    acc[b] = f_fma(bias, f_load_quarters(x->sums + (r + b) * x->groups + unit), acc[b]);
    acc[b] = f_fma(f_from_int(sum), f_mul(scale, f_load_quarters(x->scales + (r + b) * x->units + unit)), acc[b]);
  }
}

/// Weight rows [i, i + count), count at most 4, times X activation rows from `r` on.
template <int Bits, int X>
static void byte_tile(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t i, int count, float* y,
                      int64_t y_stride) {
  const int64_t columns = w->columns, groups = columns / w->group, row_bytes = columns * Bits / 8;
  const int group_bits = __builtin_ctz((unsigned)w->group);
  const vi order = quarters_order(w->group / kByteUnit);
  const uint8_t* rows[4];
  for (int a = 0; a < 4; ++a) rows[a] = w->packed + (i + (a < count ? a : 0)) * row_bytes;
  vf acc[X];
#pragma GCC unroll 4
  for (int b = 0; b < X; ++b) acc[b] = f_zero();
  for (int64_t g = 0; g < groups; g += kLanes) {
    const int n = (int)(groups - g < kLanes ? groups - g : kLanes);
    vf scales[4], biases[4];
#pragma GCC unroll 4
    for (int a = 0; a < 4; ++a) {
      const int64_t at = (i + (a < count ? a : 0)) * groups + g;
      scales[a] = load_floats(w->scales, at, n, w->type);
      biases[a] = load_floats(w->biases, at, n, w->type);
    }
    const int64_t begin = g << group_bits, end = (g + n) << group_bits;
    for (int64_t k = begin; k < end; k += kByteChunk) {
      const vi here = i_moved(order, (int)((k - begin) >> group_bits));
      const vf scale = f_pick_quarters(scales, here), bias = f_pick_quarters(biases, here);
      const uint8_t* ahead = rows[0] + 4 * (k * Bits / 8) + kFetchAhead;
#pragma GCC unroll 8
      for (int a = 0; a < 4 * Bits / 4; ++a) __builtin_prefetch(ahead + 64 * a, 0, kFetchHint<X>);
      if (end - k >= kByteChunk) {
        byte_chunk<Bits, X, true>(rows, k, kByteChunk, scale, bias, x, r, acc);
      } else {
        byte_chunk<Bits, X, false>(rows, k, end - k, scale, bias, x, r, acc);
      }
    }
  }
#pragma GCC unroll 4
  for (int b = 0; b < X; ++b) {
    vf sum = f_add(acc[b], f_exchange(acc[b], 4));
    sum = f_add(f_add(sum, f_exchange(sum, 8)), f_zero());  // no -0: units past the end would make it 0
    f_store_n(y + (r + b) * y_stride + i, sum, count);
  }
}

template <int Bits, int X>
static inline void byte_tiles(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t begin, int64_t end, float* y,
                              int64_t y_stride) {
  for (int64_t i = begin; i < end; i += 4) byte_tile<Bits, X>(w, x, r, i, end - i < 4 ? (int)(end - i) : 4, y, y_stride);
}

static constexpr int kBytePanels = 2, kByteTokens = 8;
static constexpr int kStretch = 16;                            // activation rows that a block of panels is unpacked for
static constexpr int kFewestForPanels = 8;                     // which repay the unpacking
static constexpr int kBlockChunks = 4, kBlockUnits = kBlockChunks * kChunkUnits;

/// Panels of as many columns as stay in the first cache, and what activation rows have added up so far.
struct ByteBlock {
  alignas(64) uint8_t bytes[kBytePanels][kBlockUnits][8][64];  // of a unit: four columns a vector, a lane a weight row
  alignas(64) float scales[kBlockUnits][kBytePanels][kLanes], biases[kBlockUnits][kBytePanels][kLanes];
  alignas(64) float sums[kStretch][kBytePanels][kChunkUnits][kLanes];
};

/// The scales of the weight rows from `first` on: [units][panels][lanes].
static inline void fill_factors(const void* from, const AffineWeight* w, int64_t first, int64_t last, int64_t unit, int64_t units,
                                int panel, float (*to)[kBytePanels][kLanes]) {
  const int64_t groups = w->columns / w->group, each = w->group / kByteUnit, g = unit / each;
  const int n = (int)((units + each - 1) / each);
  vi v[kLanes];
#pragma GCC unroll 16
  for (int a = 0; a < kLanes; ++a) {
    const int64_t row = first + a < last ? first + a : last;
    v[a] = i_from_bits(load_floats(from, row * groups + g, n, w->type));
  }
  i_transpose(v);
  for (int64_t u = 0; u < units; ++u) i_store(to[u][panel], v[u / each]);
}

/// Unpacks `units` units from column k on of the weight rows from `first` on; past the last one it is repeated.
template <int Bits, int P>
static void fill_block(const AffineWeight* w, int64_t first, int64_t k, int64_t units, ByteBlock* block) {
  const int64_t row_bytes = w->columns * Bits / 8, last = w->rows - 1, bytes = units * kByteUnit * Bits / 8;
  const vi nibbles = i_set(0x0F0F0F0F);
  for (int a = 0; a < P; ++a) {
    const int64_t row = first + a * kLanes;
    const uint8_t* from = w->packed + row * row_bytes + k * Bits / 8;
    const int64_t most = last - row;
    uint8_t* to = block->bytes[a][0][0];
    for (int64_t at = 0; at < bytes; at += 64, to += Bits == 4 ? 32 * 64 : 16 * 64) {
      vi v[kLanes];
#pragma GCC unroll 16
      for (int lane = 0; lane < kLanes; ++lane) {
        const uint8_t* p = from + (lane < most ? lane : most) * row_bytes + at;
        v[lane] = bytes - at >= 64 ? i_load(p) : i_load_bytes(p, (int)(bytes - at));
        __builtin_prefetch(p + P * kLanes * row_bytes, 0, 3);
      }
      i_transpose(v);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if constexpr (Bits == 4) {
          i_store(to + 128 * i, i_and(v[i], nibbles));
          i_store(to + 128 * i + 64, i_and(h_shift_right(v[i], 4), nibbles));
        } else {
          i_store(to + 64 * i, v[i]);
        }
      }
    }
    fill_factors(w->scales, w, row, last, k / kByteUnit, units, a, block->scales);
    fill_factors(w->biases, w, row, last, k / kByteUnit, units, a, block->biases);
  }
}

/// Where the digits that vector `i` of a chunk's unit is multiplied with lie in the chunk.
template <int Bits>
static constexpr int digits_at(int unit, int i) {
  return Bits == 4 ? 16 * unit + 4 * (i / 2) + 64 * (i % 2) : 32 * unit + 4 * i;
}

/// P panels of `units` units from `unit` on times X activation rows from `r` on; `sums` are theirs.
template <int Bits, int P, int X>
static void byte_panel_tile(const ByteBlock* block, const QuantizedRows* x, int64_t r, int64_t unit, int64_t units,
                            float (*sums)[kBytePanels][kChunkUnits][kLanes]) {
  const uint8_t* q[X];
#pragma GCC unroll 8
  for (int b = 0; b < X; ++b) q[b] = (const uint8_t*)(x->q + (r + b) * x->stride) + unit / kChunkUnits * kDigitBytes;
  for (int64_t u = 0; u < units; ++u) {
    // Of a chunk's first unit; those of the others are as far on as their number says.
    const int64_t chunk = u / kChunkUnits * kDigitBytes + u % kChunkUnits * digits_at<Bits>(1, 0);
    vi sum[P][X];
#pragma GCC unroll 2
    for (int a = 0; a < P; ++a) {
#pragma GCC unroll 8
      for (int b = 0; b < X; ++b) sum[a][b] = i_zero();
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const int at = digits_at<Bits>(0, i % 8) + i / 8 * kByteChunk;
      vi weight[P];
#pragma GCC unroll 2
      for (int a = 0; a < P; ++a) weight[a] = i_load(block->bytes[a][u][i % 8]);
      if (i == 8) {
#pragma GCC unroll 2
        for (int a = 0; a < P; ++a) {
#pragma GCC unroll 8
          for (int b = 0; b < X; ++b) sum[a][b] = i_times_256(sum[a][b]);
        }
      }
#pragma GCC unroll 8
      for (int b = 0; b < X; ++b) {
        const vi digits = i_set(*(const int32_t*)(q[b] + chunk + at));
#pragma GCC unroll 2
        for (int a = 0; a < P; ++a) sum[a][b] = b_multiply_add(sum[a][b], weight[a], digits);
      }
    }
#pragma GCC unroll 8
    for (int b = 0; b < X; ++b) {
      const vf scale = f_set(x->scales[(r + b) * x->units + unit + u]), total = f_set(x->sums[(r + b) * x->groups + unit + u]);
#pragma GCC unroll 2
      for (int a = 0; a < P; ++a) {
        float* to = sums[b][a][u % kChunkUnits];
        const vf acc = f_fma(f_load(block->biases[u][a]), total, f_load(to));
        f_store(to, f_fma(f_from_int(sum[a][b]), f_mul(f_load(block->scales[u][a]), scale), acc));
      }
    }
  }
}

/// P panels of weight rows from `first` on times `n` activation rows from `r` on, at most kStretch.
template <int Bits, int P>
static void byte_panels(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t n, int64_t first, int64_t end, float* y,
                        int64_t y_stride) {
  ByteBlock block;
  memset(block.sums, 0, sizeof(block.sums));
  const int64_t all = w->columns / kByteUnit;
  for (int64_t unit = 0; unit < all; unit += kBlockUnits) {
    const int64_t units = all - unit < kBlockUnits ? all - unit : kBlockUnits;
    fill_block<Bits, P>(w, first, unit * kByteUnit, units, &block);
    int64_t b = 0;
    for (; b + 8 <= n; b += 8) byte_panel_tile<Bits, P, 8>(&block, x, r + b, unit, units, block.sums + b);
    for (; b + 4 <= n; b += 4) byte_panel_tile<Bits, P, 4>(&block, x, r + b, unit, units, block.sums + b);
    for (; b + 2 <= n; b += 2) byte_panel_tile<Bits, P, 2>(&block, x, r + b, unit, units, block.sums + b);
    if (b < n) byte_panel_tile<Bits, P, 1>(&block, x, r + b, unit, units, block.sums + b);
  }
  for (int64_t b = 0; b < n; ++b) {
    for (int a = 0; a < P; ++a) {
      const int64_t row = first + a * kLanes, left = end - row;
      const float(*s)[kLanes] = block.sums[b][a];
      const vf sum = f_add(f_add(f_load(s[0]), f_load(s[1])), f_add(f_load(s[2]), f_load(s[3])));
      if (left > 0) f_store_n(y + (r + b) * y_stride + row, f_add(sum, f_zero()), left < kLanes ? (int)left : kLanes);
    }
  }
}

template <int Bits>
static void byte_rows_of(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                         int64_t y_stride) {
  int64_t r = 0;
  while (n - r >= kFewestForPanels) {
    const int64_t count = n - r < kStretch ? n - r : kStretch;
    int64_t i = begin;
    for (; end - i > kLanes; i += 2 * kLanes) byte_panels<Bits, 2>(w, x, r, count, i, end, y, y_stride);
    if (i < end) byte_panels<Bits, 1>(w, x, r, count, i, end, y, y_stride);
    r += count;
  }
  for (; r + 4 <= n; r += 4) byte_tiles<Bits, 4>(w, x, r, begin, end, y, y_stride);
  if (n - r == 3) byte_tiles<Bits, 3>(w, x, r, begin, end, y, y_stride);
  if (n - r == 2) byte_tiles<Bits, 2>(w, x, r, begin, end, y, y_stride);
  if (n - r == 1) byte_tiles<Bits, 1>(w, x, r, begin, end, y, y_stride);
}

static void byte_rows(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                      int64_t y_stride) {
  if (w->bits == 4) return byte_rows_of<4>(w, x, n, begin, end, y, y_stride);
  return byte_rows_of<8>(w, x, n, begin, end, y, y_stride);
}
