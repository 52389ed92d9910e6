// Decode: few activation rows against all weight rows, each weight read once. A vector of packed bytes falls apart into
// planes of 16-bit values (plane p holds values p, p + planes, …), and the activations lie in that order too.

static constexpr int kVectorBytes = 4 * kLanes;
static constexpr int kPrefetch = 4096;  // bytes ahead of what is multiplied
static constexpr int kGroupBlock = 64;  // groups whose factors lie on the stack at a time

template <int Bits>
struct Decode {
  static constexpr int kWidth = unpacked_bits(Bits);
  static constexpr int kPlanes = 16 / kWidth;
  static constexpr int kChunk = kVectorBytes * 8 / kWidth;  // values in a vector of packed bytes
  static constexpr int kLaneValues = 32 / kWidth;           // values that end up in one 32-bit lane
};

static int64_t padded(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes + kLanes; }

/// Values that share a scale: in decode those that meet in a 32-bit lane, in prefill up to 32 of a group.
static int unit_of(int group, int bits) {
  if (bits != 0) return 32 / unpacked_bits(bits);
  return group < 32 ? group : 32;
}

static int64_t chunk_of(int bits) { return bits == 0 ? 2 * kLanes : kVectorBytes * 8 / unpacked_bits(bits); }

static void row_layout(int64_t columns, int group, int bits, QuantizedRows* rows) {
  const int64_t chunk = chunk_of(bits);
  rows->stride = (columns + chunk - 1) / chunk * chunk;
  rows->units = padded(columns / unit_of(group, bits));
  rows->groups = padded(columns / group);
}

/// The largest of |x| in each unit that v is part of, in all its lanes.
static inline vf unit_greatest(const float* x, vf v, int64_t k, int unit) {
  vf largest = f_abs(v);
  if (unit < kLanes) {
    for (int step = 1; step < unit; step *= 2) largest = f_max(largest, f_exchange(largest, step));
    return largest;
  }
  for (int64_t i = k / unit * unit; i < k / unit * unit + unit; i += kLanes) largest = f_max(largest, f_abs(f_load(x + i)));
  return f_set(f_greatest(largest));
}

/// From natural order into planes, a chunk at a time.
template <int Planes>
static inline void to_planes(const int16_t* natural, int64_t count, int16_t* q) {
  for (int64_t at = 0; at < count; at += 2 * kLanes * Planes) {
    for (int p = 0; p < Planes; ++p) {
      for (int j = 0; j < 2 * kLanes; ++j) q[at + p * 2 * kLanes + j] = natural[at + j * Planes + p];
    }
  }
}

static void quantize_row(const float* x, int64_t columns, int group, int bits, const QuantizedRows* out, int64_t row) {
  enum { kPiece = 1024 };  // a multiple of every chunk and group
  int16_t* q = out->q + row * out->stride;
  float* scales = out->scales + row * out->units;
  float* sums = out->sums + row * out->groups;
  memset(scales, 0, (size_t)out->units * sizeof(float));
  memset(sums, 0, (size_t)out->groups * sizeof(float));
  const int unit = unit_of(group, bits), planes = bits == 0 ? 1 : 16 / unpacked_bits(bits);
  const int64_t chunk = chunk_of(bits);
  int16_t natural[kPiece];
  for (int64_t begin = 0; begin < columns; begin += kPiece) {
    const int64_t end = columns - begin < kPiece ? columns : begin + kPiece;
    for (int64_t k = begin; k < end; k += kLanes) {
      const vf v = f_load(x + k), largest = unit_greatest(x, v, k, unit);
      // A unit of zeros, or so small that the inverse overflows, counts as zeros.
      const vf inverse = f_div(f_set(32767.0F), f_max(largest, f_set(1e-33F)));
      const vi rounded = i_from_float(f_mul(v, inverse));
      const vf scale = f_mul(f_max(largest, f_set(1e-33F)), f_set(1.0F / 32767.0F));
      h_store(natural + (k - begin), rounded);
      float lanes[kLanes];
      f_store(lanes, scale);
      for (int i = 0; i < kLanes; i += unit) scales[(k + i) / unit] = lanes[i];
      // The sum is that of the rounded values: then the rounding errors meet scale * q + bias, not scale * q alone. NaN
      // and infinity reach the result through the last term.
      const vf part = f_add(f_mul(scale, f_from_int(rounded)), f_sub(v, v));
      if (group >= kLanes) {
        sums[k / group] += f_sum(part);
      } else {
        f_store(lanes, part);
        for (int i = 0; i < kLanes; ++i) sums[(k + i) / group] += lanes[i];
      }
    }
    const int64_t whole = (end - begin + chunk - 1) / chunk * chunk;
    memset(natural + (end - begin), 0, (size_t)(whole - (end - begin)) * sizeof(int16_t));
    switch (planes) {
      case 1: memcpy(q + begin, natural, (size_t)whole * sizeof(int16_t)); break;
      case 2: to_planes<2>(natural, whole, q + begin); break;
      case 4: to_planes<4>(natural, whole, q + begin); break;
      default: to_planes<8>(natural, whole, q + begin); break;
    }
  }
}

/// For each 16-bit lane of two planes: the bytes that its 3, 5 or 6 bits lie in, and the factor that moves them to the top.
template <int Bits>
struct Spread {
  uint8_t bytes[2][kVectorBytes] = {};
  uint16_t up[2][2 * kLanes] = {};
  constexpr Spread() {
    for (int p = 0; p < 2; ++p) {
      for (int j = 0; j < 2 * kLanes; ++j) {
        const int bit = (j % 8 * 2 + p) * Bits, byte = bit / 8 + lane_offset(Bits, j / 8);
        bytes[p][2 * j] = (uint8_t)byte;
        bytes[p][2 * j + 1] = (uint8_t)(byte + 1);
        up[p][j] = (uint16_t)(1 << (16 - Bits - bit % 8));
      }
    }
  }
};
template <int Bits>
alignas(64) static constexpr Spread<Bits> kSpread;

template <int Bits>
static inline void unpack_planes(vi packed, vi* planes) {
  if constexpr (!divides_16(Bits)) {
    for (int p = 0; p < 2; ++p) {
      const vi words = b_shuffle(packed, i_load(kSpread<Bits>.bytes[p]));
      planes[p] = h_shift_right(h_multiply(words, i_load(kSpread<Bits>.up[p])), 16 - Bits);
    }
    return;
  }
  constexpr int kWidth = Decode<Bits>::kWidth;
  const vi mask = h_set((1 << kWidth) - 1);
  planes[0] = i_and(packed, mask);
  if constexpr (kWidth == 8) {
    planes[1] = h_shift_right(packed, 8);
  } else if constexpr (kWidth == 4) {
    planes[1] = i_and(h_shift_right(packed, 4), mask);
    planes[2] = i_and(h_shift_right(packed, 8), mask);
    planes[3] = h_shift_right(packed, 12);
  } else {
    planes[1] = i_and(h_shift_right(packed, 2), mask);
    planes[2] = i_and(h_shift_right(packed, 4), mask);
    planes[3] = i_and(h_shift_right(packed, 6), mask);
    planes[4] = i_and(h_shift_right(packed, 8), mask);
    planes[5] = i_and(h_shift_right(packed, 10), mask);
    planes[6] = i_and(h_shift_right(packed, 12), mask);
    planes[7] = h_shift_right(packed, 14);
  }
}

/// `count` packed values from p on as one vector; zeros behind them unless the whole chunk is there.
template <int Bits, bool Whole>
static inline vi load_chunk(const uint8_t* p, int64_t count) {
  if constexpr (divides_16(Bits)) {
    return Whole ? i_load(p) : i_load_bytes(p, (int)(count * Bits / 8));
  } else {
    if (Whole) return i_load_lanes<Bits>(p);
    uint8_t bytes[kVectorBytes] = {0};
    memcpy(bytes, p, (size_t)(count * Bits / 8));
    return i_load_lanes<Bits>(bytes);
  }
}

/// Scales and biases of one row's groups [first, first + count), rounded up to whole vectors with zeros.
struct RowFactors {
  float scales[kGroupBlock + kLanes], biases[kGroupBlock + kLanes];
};

static inline void load_factors(const AffineWeight* w, int64_t first, int64_t count, RowFactors* out) {
  const int64_t whole = count / kLanes * kLanes;
  const auto convert = [&](auto load, auto load_n, auto* scales, auto* biases) {
    for (int64_t g = 0; g < whole; g += kLanes) {
      f_store(out->scales + g, load(scales + first + g));
      f_store(out->biases + g, load(biases + first + g));
    }
    if (whole == count) return;
    f_store(out->scales + whole, load_n(scales + first + whole, (int)(count - whole)));
    f_store(out->biases + whole, load_n(biases + first + whole, (int)(count - whole)));
  };
  if (w->type == kFloat32) return convert(f_load, f_load_n, (const float*)w->scales, (const float*)w->biases);
  const auto *scales = (const uint16_t*)w->scales, *biases = (const uint16_t*)w->biases;
  __builtin_prefetch(scales + first + kPrefetch / 8, 0, 0);
  __builtin_prefetch(biases + first + kPrefetch / 8, 0, 0);
  if (w->type == kFloat16) return convert(f_load_half, f_load_half_n, scales, biases);
  return convert(f_load_brain, f_load_brain_n, scales, biases);
}

/// One chunk of R weight rows times X activation rows. `q` and `units` are those of the first activation row.
template <int Bits, int R, int X, bool Whole>
static inline void affine_chunk(const uint8_t* packed, int64_t row_bytes, int64_t count, const RowFactors* factors,
                                int64_t group, vi order, const QuantizedRows* x, const int16_t* q, const float* units,
                                vf (*acc)[X]) {
  using D = Decode<Bits>;
#pragma GCC unroll 4
  for (int a = 0; a < R; ++a) {
    const uint8_t* p = packed + a * row_bytes;
    // The rows of a matrix follow each other, but a piece of it is too short for the processor to see that.
    __builtin_prefetch(p + kPrefetch, 0, 0);
    vi planes[D::kPlanes];
    unpack_planes<Bits>(load_chunk<Bits, Whole>(p, count), planes);
    const vf scale = f_spread(factors[a].scales + group, order);
#pragma GCC unroll 4
    for (int b = 0; b < X; ++b) {
      vi sum = i_zero();
#pragma GCC unroll 8
      for (int i = 0; i < D::kPlanes; ++i) sum = h_multiply_add(sum, planes[i], i_load(q + b * x->stride + i * 2 * kLanes));
      acc[a][b] = f_fma(f_mul(f_from_int(sum), f_load(units + b * x->units)), scale, acc[a][b]);
    }
  }
}

/// R weight rows from `i` on times X activation rows from `r` on. What is done for one pair, and in which order, depends
/// on neither R nor X.
template <int Bits, int R, int X>
static void affine_tile(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t i, float* y, int64_t y_stride) {
  using D = Decode<Bits>;
  const int64_t columns = w->columns, row_bytes = columns * Bits / 8;
  const int group_bits = __builtin_ctz((unsigned)w->group);
  const int64_t groups = columns >> group_bits;
  const vi order = f_order(w->group / D::kLaneValues);
  vf acc[R][X];
#pragma GCC unroll 4
  for (int a = 0; a < R; ++a) {
#pragma GCC unroll 4
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  RowFactors factors[R];
  for (int64_t g0 = 0; g0 < groups; g0 += kGroupBlock) {
    const int64_t block = groups - g0 < kGroupBlock ? groups - g0 : kGroupBlock;
    for (int a = 0; a < R; ++a) load_factors(w, (i + a) * groups + g0, block, &factors[a]);
    for (int64_t g = 0; g < block; g += kLanes) {
#pragma GCC unroll 4
      for (int b = 0; b < X; ++b) {
        const vf sums = f_load(x->sums + (r + b) * x->groups + g0 + g);
#pragma GCC unroll 4
        for (int a = 0; a < R; ++a) acc[a][b] = f_fma(f_load(factors[a].biases + g), sums, acc[a][b]);
      }
    }
    const int64_t begin = g0 << group_bits, end = (g0 + block) << group_bits;
    const uint8_t* packed = w->packed + i * row_bytes;
    const int16_t* q = x->q + r * x->stride;
    const float* units = x->scales + r * x->units;
    int64_t k = begin;
    for (; k + D::kChunk <= end; k += D::kChunk) {
      affine_chunk<Bits, R, X, true>(packed + k * Bits / 8, row_bytes, D::kChunk, factors, (k - begin) >> group_bits, order,
                                     x, q + k, units + k / D::kLaneValues, acc);
    }
    if (k < end) {
      affine_chunk<Bits, R, X, false>(packed + k * Bits / 8, row_bytes, end - k, factors, (k - begin) >> group_bits, order,
                                      x, q + k, units + k / D::kLaneValues, acc);
    }
  }
  for (int a = 0; a < R; ++a) {
    for (int b = 0; b < X; ++b) y[(r + b) * y_stride + i + a] = f_sum(acc[a][b]);
  }
}

template <int Bits, int R>
static inline void affine_row_tiles(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t i, float* y,
                                    int64_t y_stride) {
  int64_t r = 0;
  for (; r + 4 <= n; r += 4) affine_tile<Bits, R, 4>(w, x, r, i, y, y_stride);
  for (; r < n; ++r) affine_tile<Bits, R, 1>(w, x, r, i, y, y_stride);
}

template <int Bits>
static void affine_rows_of(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end,
                           float* y, int64_t y_stride) {
  constexpr int kRows = 4;
  int64_t i = begin;
  for (; i + kRows <= end; i += kRows) affine_row_tiles<Bits, kRows>(w, x, n, i, y, y_stride);
  for (; i < end; ++i) affine_row_tiles<Bits, 1>(w, x, n, i, y, y_stride);
}

static void affine_rows(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                        int64_t y_stride) {
  switch (w->bits) {
    case 2: return affine_rows_of<2>(w, x, n, begin, end, y, y_stride);
    case 3: return affine_rows_of<3>(w, x, n, begin, end, y, y_stride);
    case 4: return affine_rows_of<4>(w, x, n, begin, end, y, y_stride);
    case 5: return affine_rows_of<5>(w, x, n, begin, end, y, y_stride);
    case 6: return affine_rows_of<6>(w, x, n, begin, end, y, y_stride);
    default: return affine_rows_of<8>(w, x, n, begin, end, y, y_stride);
  }
}
