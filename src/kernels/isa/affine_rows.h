// Decode: few activation rows against all weight rows, each weight read once. A vector of packed bytes falls apart into
// planes of 16-bit values (plane p holds values p, p + planes, …), and the activations lie in that order too.

static constexpr int kVectorBytes = 4 * kLanes;
static constexpr int kTileRows = 4;                         // activation rows multiplied at a time
static constexpr int kPlaneVectors = kLanes == 16 ? 8 : 4;  // vectors of unpacked weights held at a time

/// Bytes ahead of what is multiplied, along the matrix as it lies in memory: what several rows are read side by side
/// for is too short for the processor to see where they go on.
static constexpr int kFetchAhead = 6144;
/// What is multiplied with one row alone is not wanted again.
template <int X>
static constexpr int kFetchHint = X == 1 ? 0 : 3;

/// How a weight of `Code` bits is unpacked; kFp4: its values times 512 in a plane of 16-bit integers.
template <int Code>
struct Decode {
  static constexpr int kBits = Code == kFp4 ? 4 : Code;
  static constexpr int kWidth = unpacked_bits(kBits);
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

#ifdef MLXK_BYTE_PRODUCTS
#include "kernels/isa/byte_rows.h"
#endif

static void row_layout(int64_t columns, int group, int bits, QuantizedRows* rows) {
#ifdef MLXK_BYTE_PRODUCTS
  if (takes_bytes(group, bits)) return byte_layout(columns, rows);
#endif
  if (bits == kFp4) bits = 4;
  const int64_t chunk = chunk_of(bits);
  // A cache line more than whole chunks: rows that are a power of two apart would compete for the same lines.
  rows->stride = (columns + chunk - 1) / chunk * chunk + 32;
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
  for (int64_t i = k / unit * unit; i < k / unit * unit + unit; i += kLanes)
    largest = f_max(largest, f_abs(f_load(x + i)));
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

static void quantize_for_panels(const float* x, int64_t columns, int group, const QuantizedRows* out, int64_t row);

static void quantize_row(const float* x, int64_t columns, int group, int bits, const QuantizedRows* out, int64_t row) {
  if (bits == 0) return quantize_for_panels(x, columns, group, out, row);
#ifdef MLXK_BYTE_PRODUCTS
  if (takes_bytes(group, bits)) return quantize_bytes(x, columns, bits, out, row);
#endif
  if (bits == kFp4) bits = 4;
  enum { kPiece = 1024 };  // a multiple of every chunk and group
  int16_t* q = out->q + row * out->stride;
  float* scales = out->scales + row * out->units;
  float* sums = out->sums + row * out->groups;
  memset(scales, 0, (size_t)out->units * sizeof(float));
  memset(sums, 0, (size_t)out->groups * sizeof(float));
  const int unit = unit_of(group, bits), planes = 16 / unpacked_bits(bits);
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
      case 2: to_planes<2>(natural, whole, q + begin); break;
      case 4: to_planes<4>(natural, whole, q + begin); break;
      default: to_planes<8>(natural, whole, q + begin); break;
    }
  }
}

/// For each 16-bit lane of two planes: the bytes that its 3, 5 or 6 bits lie in, and the factor that moves them to the
/// top.
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

/// Twice the value of every e2m1 number.
alignas(64) static constexpr int8_t kFp4Doubled[64] = {
#define MLXK_FP4 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12
    MLXK_FP4, MLXK_FP4, MLXK_FP4, MLXK_FP4};
#undef MLXK_FP4

template <int Code>
static inline void unpack_planes(vi packed, vi* planes) {
  constexpr int Bits = Decode<Code>::kBits;
  if constexpr (Code == kFp4) {
    const vi nibbles = i_set(0x0F0F0F0F), table = i_load(kFp4Doubled), upper = h_set((int16_t)0xFF00);
    const vi even = b_shuffle(table, i_and(packed, nibbles));
    const vi odd = b_shuffle(table, i_and(h_shift_right(packed, 4), nibbles));
    planes[0] = h_shift_left(even, 8);
    planes[1] = h_shift_left(odd, 8);
    planes[2] = i_and(even, upper);
    planes[3] = i_and(odd, upper);
    return;
  }
  if constexpr (!divides_16(Bits)) {
    for (int p = 0; p < 2; ++p) {
      const vi words = b_shuffle(packed, i_load(kSpread<Bits>.bytes[p]));
      planes[p] = h_shift_right(h_multiply(words, i_load(kSpread<Bits>.up[p])), 16 - Bits);
    }
    return;
  }
  constexpr int kWidth = Decode<Code>::kWidth;
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

/// The scales of `n` groups from `i` on, as numbers that the planes are to be multiplied with.
template <int Code>
static inline vf load_scales(const AffineWeight* w, int64_t i, int n) {
  if constexpr (Code == kFp4) return f_mul(load_small_scales(w, i, n), f_set(1.0F / 512));
  return load_floats(w->scales, i, n, w->type);
}

/// One chunk of R weight rows times X activation rows. `q` and `units` are those of the first activation row, `scales`
/// those of every weight row, in lane order[i] that of lane i.
template <int Code, int R, int X, bool Whole>
static inline void affine_chunk(const uint8_t* packed, int64_t row_bytes, int64_t count, const vf* scales, vi order,
                                const QuantizedRows* x, const int16_t* q, const float* units, vf (*acc)[X]) {
  using D = Decode<Code>;
  constexpr int kAtOnce = X > 1 && R * D::kPlanes > kPlaneVectors ? (D::kPlanes >= kPlaneVectors ? 1 : 2) : R;
#pragma GCC unroll 4
  for (int first = 0; first < R; first += kAtOnce) {
    vi planes[kAtOnce][D::kPlanes];
    vf scale[kAtOnce];
#pragma GCC unroll 4
    for (int a = 0; a < kAtOnce; ++a) {
      unpack_planes<Code>(load_chunk<D::kBits, Whole>(packed + (first + a) * row_bytes, count), planes[a]);
      scale[a] = f_pick(scales[first + a], order);
    }
#pragma GCC unroll 8
    for (int b = 0; b < X; ++b) {
      vs sum[kAtOnce];
#pragma GCC unroll 4
      for (int a = 0; a < kAtOnce; ++a) sum[a] = s_zero();
#pragma GCC unroll 8
      for (int i = 0; i < D::kPlanes; ++i) {
        const vi v = i_load(q + b * x->stride + i * 2 * kLanes);
#pragma GCC unroll 4
        for (int a = 0; a < kAtOnce; ++a) sum[a] = h_multiply_add(sum[a], planes[a][i], v);
      }
      const vf unit = f_load(units + b * x->units);
#pragma GCC unroll 4
      for (int a = 0; a < kAtOnce; ++a) {
        acc[first + a][b] = f_fma(f_mul(f_from_sums(sum[a]), unit), scale[a], acc[first + a][b]);
      }
    }
  }
}

/// R weight rows from `i` on times X activation rows from `r` on. What is done for one pair, and in which order,
/// depends on neither R nor X.
template <int Code, int R, int X>
static void affine_tile(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t i, float* y,
                        int64_t y_stride) {
  using D = Decode<Code>;
  const int64_t columns = w->columns, row_bytes = columns * D::kBits / 8;
  const int group_bits = __builtin_ctz((unsigned)w->group);
  const int64_t groups = columns >> group_bits;
  const vi order = f_order(w->group / D::kLaneValues);
  const uint8_t* packed = w->packed + i * row_bytes;
  const int16_t* q = x->q + r * x->stride;
  const float* units = x->scales + r * x->units;
  vf acc[R][X];
#pragma GCC unroll 4
  for (int a = 0; a < R; ++a) {
#pragma GCC unroll 8
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  for (int64_t g = 0; g < groups; g += kLanes) {
    const int n = (int)(groups - g < kLanes ? groups - g : kLanes);
    vf scales[R];
#pragma GCC unroll 4
    for (int a = 0; a < R; ++a) {
      const int64_t at = (i + a) * groups + g;
      scales[a] = load_scales<Code>(w, at, n);
      if constexpr (Code != kFp4) {
        const vf bias = load_floats(w->biases, at, n, w->type);
#pragma GCC unroll 8
        for (int b = 0; b < X; ++b) acc[a][b] = f_fma(bias, f_load(x->sums + (r + b) * x->groups + g), acc[a][b]);
      }
    }
    const int64_t begin = g << group_bits, end = (g + n) << group_bits;
    int64_t k = begin;
    for (; k + D::kChunk <= end; k += D::kChunk) {
      const uint8_t* p = packed + k * D::kBits / 8;
#pragma GCC unroll 4
      for (int a = 0; a < R; ++a)
        __builtin_prefetch(p + (R - 1) * (k * D::kBits / 8) + a * (D::kChunk * D::kBits / 8) + kFetchAhead, 0,
                           kFetchHint<X>);
      affine_chunk<Code, R, X, true>(p, row_bytes, D::kChunk, scales, i_moved(order, (int)((k - begin) >> group_bits)),
                                     x, q + k, units + k / D::kLaneValues, acc);
    }
    if (k < end) {
      affine_chunk<Code, R, X, false>(packed + k * D::kBits / 8, row_bytes, end - k, scales,
                                      i_moved(order, (int)((k - begin) >> group_bits)), x, q + k,
                                      units + k / D::kLaneValues, acc);
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < X; ++b) {
    vf column[4];
#pragma GCC unroll 4
    for (int a = 0; a < 4; ++a) column[a] = a < R ? acc[a < R ? a : 0][b] : f_zero();
    f_store_sums(y + (r + b) * y_stride + i, column, R);
  }
}

/// X activation rows from `r` on times all of the weight rows.
template <int Code, int X>
static inline void affine_tiles(const AffineWeight* w, const QuantizedRows* x, int64_t r, int64_t begin, int64_t end,
                                float* y, int64_t y_stride) {
  constexpr int kRows = 4;
  int64_t i = begin;
  for (; i + kRows <= end; i += kRows) affine_tile<Code, kRows, X>(w, x, r, i, y, y_stride);
  for (; i < end; ++i) affine_tile<Code, 1, X>(w, x, r, i, y, y_stride);
}

/// The activation rows of a tile stay in the first cache; the weight rows, some 32 KB, are in the second one when the
/// next of them are multiplied.
template <int Code>
static void affine_rows_of(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end,
                           float* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kTileRows <= n; r += kTileRows) affine_tiles<Code, kTileRows>(w, x, r, begin, end, y, y_stride);
  for (; r + 2 <= n; r += 2) affine_tiles<Code, 2>(w, x, r, begin, end, y, y_stride);
  if (r < n) affine_tiles<Code, 1>(w, x, r, begin, end, y, y_stride);
}

static void affine_rows(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                        int64_t y_stride) {
  if (is_small_scale(w->type)) return affine_rows_of<kFp4>(w, x, n, begin, end, y, y_stride);
#ifdef MLXK_BYTE_PRODUCTS
  if (takes_bytes(w->group, w->bits)) return byte_rows(w, x, n, begin, end, y, y_stride);
#endif
  switch (w->bits) {
    case 2: return affine_rows_of<2>(w, x, n, begin, end, y, y_stride);
    case 3: return affine_rows_of<3>(w, x, n, begin, end, y, y_stride);
    case 4: return affine_rows_of<4>(w, x, n, begin, end, y, y_stride);
    case 5: return affine_rows_of<5>(w, x, n, begin, end, y, y_stride);
    case 6: return affine_rows_of<6>(w, x, n, begin, end, y, y_stride);
    default: return affine_rows_of<8>(w, x, n, begin, end, y, y_stride);
  }
}
