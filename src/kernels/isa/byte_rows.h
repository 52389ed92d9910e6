// Decode with weights of 4 and 8 bits where an instruction multiplies bytes: weights as bytes, activations as two
// digits of 8 bits. The products of a unit of 32 columns add up exactly in integers; unit u then belongs to sum u mod 4
// of its row. Four weight rows are multiplied at a time, so that their sums fill a vector.

static constexpr int kByteUnit = 32, kByteChunk = 128;  // columns; of a chunk the upper digits come first
static constexpr int kChunkUnits = kByteChunk / kByteUnit, kDigitBytes = 2 * kByteChunk;
static constexpr float kLargestDigits = 127 * 256 + 127;

static bool takes_bytes(int group, int bits) { return (bits == 4 || bits == 8) && group >= kByteUnit; }

static void byte_layout(int64_t columns, QuantizedRows* rows) {
  // A cache line more than whole chunks: rows that are a power of two apart would compete for the same lines.
  rows->stride = (columns + kByteChunk - 1) / kByteChunk * kByteChunk + 32;
  rows->units = rows->groups = padded(columns / kByteUnit);
}

/// Half of a unit's columns, `to` their upper digits.
static inline void store_digits(vi half, uint8_t* to) {
  b_store(to, i_shift_right_signed(i_add(half, i_set(128)), 8));
  b_store(to + kByteChunk, half);
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
    // The sum is that of the rounded values: then the rounding errors meet scale * q + bias, not scale * q alone. NaN
    // and infinity reach the result through the last term.
    sums[u] = scales[u] * f_sum(f_add(f_from_int(i_add(low, high)), invalid));
    // What load_bytes puts into quarter u of its two vectors.
    uint8_t* to = q + u / kChunkUnits * kDigitBytes + u % kChunkUnits * kLanes;
    store_digits(bits == 4 ? i_every_second(low, high, 0) : low, to);
    store_digits(bits == 4 ? i_every_second(low, high, 1) : high, to + kByteChunk / 2);
  }
}

/// The `left` columns of a chunk of weights (all of them if Whole) as two vectors of bytes. A quarter of both is a
/// unit: with 4 bits its even and its odd columns, with 8 bits the first and the last.
template <int Bits, bool Whole>
static inline void load_bytes(const uint8_t* p, int64_t left, vi* v) {
  if constexpr (Bits == 4) {
    const vi packed = Whole ? i_load(p) : i_load_bytes(p, (int)(left / 2)), nibbles = i_set(0x0F0F0F0F);
    v[0] = i_and(packed, nibbles);
    v[1] = i_and(h_shift_right(packed, 4), nibbles);
  } else {
    const vi a = Whole || left >= 64 ? i_load(p) : i_load_bytes(p, (int)left);
    const vi b = Whole ? i_load(p + 64) : left > 64 ? i_load_bytes(p + 64, (int)left - 64) : i_zero();
    v[0] = i_even_quarters(a, b);
    v[1] = i_odd_quarters(a, b);
  }
}

/// The sums of a chunk's units: lane 4 j + a is unit j of weight row a.
static inline vi unit_sums(const vi (*weights)[2], const uint8_t* q) {
  const vi upper[2] = {i_load(q), i_load(q + 64)}, lower[2] = {i_load(q + 128), i_load(q + 192)};
  vi sum[4];
#pragma GCC unroll 4
  for (int a = 0; a < 4; ++a) {
    sum[a] = b_multiply_add(b_multiply_add(i_zero(), weights[a][0], upper[0]), weights[a][1], upper[1]);
    sum[a] = b_multiply_add(b_multiply_add(i_times_256(sum[a]), weights[a][0], lower[0]), weights[a][1], lower[1]);
  }
  return i_sums_of_four(sum);
}

template <int Bits, int X, bool Whole>
static inline void byte_chunk(const uint8_t* const* rows, int64_t k, int64_t left, vf scale, vf bias,
                              const QuantizedRows* x, int64_t r, vf* acc) {
  vi weights[4][2];
#pragma GCC unroll 4
  for (int a = 0; a < 4; ++a) load_bytes<Bits, Whole>(rows[a] + k * Bits / 8, left, weights[a]);
  const uint8_t* q = (const uint8_t*)(x->q + r * x->stride) + 2 * k;
  const int64_t unit = k / kByteUnit;
#pragma GCC unroll 8
  for (int b = 0; b < X; ++b) {
    const vi sum = unit_sums(weights, q + 2 * b * x->stride);
    acc[b] = f_fma(bias, f_load_quarters(x->sums + (r + b) * x->groups + unit), acc[b]);
    acc[b] = f_fma(f_from_int(sum), f_mul(scale, f_load_quarters(x->scales + (r + b) * x->units + unit)), acc[b]);
  }
}

/// Weight rows [i, i + count), count at most 4, times X activation rows from `r` on. What is done for one pair, and in
/// which order, depends on neither count nor X.
template <int Bits, int X>
static void byte_tile(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t i, int count, float* y,
                      int64_t y_stride) {
  const int64_t columns = w->columns, groups = columns / w->group, row_bytes = columns * Bits / 8;
  const int group_bits = __builtin_ctz((unsigned)w->group);
  const vi order = quarters_order(w->group / kByteUnit);
  const uint8_t* rows[4];
  for (int a = 0; a < 4; ++a) rows[a] = w->packed + (i + (a < count ? a : 0)) * row_bytes;
  vf acc[X];
#pragma GCC unroll 8
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
      for (int a = 0; a < Bits; ++a) __builtin_prefetch(ahead + 64 * a, 0, kFetchHint<X>);
      if (end - k >= kByteChunk) {
        byte_chunk<Bits, X, true>(rows, k, kByteChunk, scale, bias, x, r, acc);
      } else {
        byte_chunk<Bits, X, false>(rows, k, end - k, scale, bias, x, r, acc);
      }
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < X; ++b) {
    const vf pairs = f_add(acc[b], f_exchange(acc[b], 4));
    f_store_n(y + (r + b) * y_stride + i, f_add(pairs, f_exchange(pairs, 8)), count);
  }
}

template <int Bits, int X>
static inline void byte_tiles(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t begin, int64_t end,
                              float* y, int64_t y_stride) {
  for (int64_t i = begin; i < end; i += 4)
    byte_tile<Bits, X>(w, x, r, i, end - i < 4 ? (int)(end - i) : 4, y, y_stride);
}

template <int Bits>
static void byte_rows_of(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                         int64_t y_stride) {
  int64_t r = 0;  // the weight rows, some 32 KB, are in the second cache when the next activation rows are multiplied
  for (; r + 8 <= n; r += 8) byte_tiles<Bits, 8>(w, x, r, begin, end, y, y_stride);
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
