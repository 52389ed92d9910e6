// Decode with weights that become floats one by one: few activation rows against all weight rows, sums in float32.

template <FloatType Type>
struct FloatRows {
  const FloatWeight* w;
  static constexpr int kValueBytes = Type == kFloat32 ? 4 : 2;
  const uint8_t* row(int64_t i) const { return (const uint8_t*)w->data + i * w->stride * kValueBytes; }
  vf load(int64_t i, int64_t k, int n) const { return load_floats(w->data, i * w->stride + k, n, Type); }
};

/// e4m3 numbers with a scale that is a power of two for each 32 of them.
struct Fp8Rows {
  const AffineWeight* w;
  static constexpr int kValueBytes = 1;
  const uint8_t* row(int64_t i) const { return w->packed + i * w->columns; }
  vf load(int64_t i, int64_t k, int n) const {
    const uint8_t* p = row(i) + k;
    const vi v = n == kLanes ? i_load_u8(p) : i_load_u8_n(p, n);
    // The exponent's bias is 120 less; a subnormal comes out right too.
    const vf unscaled = f_from_bits(i_and(i_shift_right_signed(i_shift_left(v, 24), 4), i_set((int32_t)0x87F00000)));
    return f_mul(f_mul(unscaled, f_set(0x1p120F)),
                 f_set(power_of_two(((const uint8_t*)w->scales)[i * (w->columns / w->group) + k / w->group])));
  }
};

/// R weight rows from `i` on times X activation rows from `r` on. What is done for one pair, and in which order,
/// depends on neither R nor X.
template <class Rows, int R, int X>
static void float_tile(Rows w, int64_t columns, const float* x, int64_t r, int64_t i, float* y, int64_t y_stride) {
  vf acc[R][X];
#pragma GCC unroll 4
  for (int a = 0; a < R; ++a) {
#pragma GCC unroll 8
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  x += r * columns;
  const auto step = [&](int64_t k, int n) {
    vf weight[R];
#pragma GCC unroll 4
    for (int a = 0; a < R; ++a) weight[a] = w.load(i + a, k, n);
#pragma GCC unroll 8
    for (int b = 0; b < X; ++b) {
      const vf v = n == kLanes ? f_load(x + b * columns + k) : f_load_n(x + b * columns + k, n);
#pragma GCC unroll 4
      for (int a = 0; a < R; ++a) acc[a][b] = f_fma(weight[a], v, acc[a][b]);
    }
  };
  constexpr int kLineValues = 64 / Rows::kValueBytes;
  int64_t k = 0;
  for (; k + kLineValues <= columns; k += kLineValues) {
    const uint8_t* ahead = w.row(i) + R * k * Rows::kValueBytes + kFetchAhead;
#pragma GCC unroll 4
    for (int a = 0; a < R; ++a) __builtin_prefetch(ahead + 64 * a, 0, kFetchHint<X>);
#pragma GCC unroll 4
    for (int j = 0; j < kLineValues; j += kLanes) step(k + j, kLanes);
  }
  for (; k + kLanes <= columns; k += kLanes) step(k, kLanes);
  if (k < columns) step(k, (int)(columns - k));
#pragma GCC unroll 8
  for (int b = 0; b < X; ++b) {
    vf column[4];
#pragma GCC unroll 4
    for (int a = 0; a < 4; ++a) column[a] = a < R ? acc[a < R ? a : 0][b] : f_zero();
    f_store_sums(y + (r + b) * y_stride + i, column, R);
  }
}

template <int X, class Rows>
static inline void float_tiles(Rows w, int64_t columns, const float* x, int64_t r, int64_t begin, int64_t end, float* y,
                               int64_t y_stride) {
  int64_t i = begin;
  for (; i + 4 <= end; i += 4) float_tile<Rows, 4, X>(w, columns, x, r, i, y, y_stride);
  for (; i < end; ++i) float_tile<Rows, 1, X>(w, columns, x, r, i, y, y_stride);
}

template <class Rows>
static void float_rows_of(Rows w, int64_t columns, const float* x, int64_t n, int64_t begin, int64_t end, float* y,
                          int64_t y_stride) {
  int64_t r = 0;
  for (; r + kTileRows <= n; r += kTileRows) float_tiles<kTileRows>(w, columns, x, r, begin, end, y, y_stride);
  for (; r + 2 <= n; r += 2) float_tiles<2>(w, columns, x, r, begin, end, y, y_stride);
  if (r < n) float_tiles<1>(w, columns, x, r, begin, end, y, y_stride);
}

static void float_rows(const FloatWeight* w, const float* x, int64_t n, int64_t begin, int64_t end, float* y,
                       int64_t y_stride) {
  switch (w->type) {
    case kFloat32: return float_rows_of(FloatRows<kFloat32>{w}, w->columns, x, n, begin, end, y, y_stride);
    case kFloat16: return float_rows_of(FloatRows<kFloat16>{w}, w->columns, x, n, begin, end, y, y_stride);
    default: return float_rows_of(FloatRows<kBFloat16>{w}, w->columns, x, n, begin, end, y, y_stride);
  }
}

static void fp8_rows(const AffineWeight* w, const float* x, int64_t n, int64_t begin, int64_t end, float* y,
                     int64_t y_stride) {
  float_rows_of(Fp8Rows{w}, w->columns, x, n, begin, end, y, y_stride);
}
