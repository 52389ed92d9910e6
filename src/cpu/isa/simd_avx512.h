// Vectors of 16 floats: AVX-512 F, BW, DQ, VL; with VNNI the multiply-add of 16-bit pairs is one instruction.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static constexpr int kLanes = 16;
typedef __m512 vf;   // 16 floats
typedef __m512i vi;  // 16 int32, 32 int16 or 64 bytes

static inline vf f_zero() { return _mm512_setzero_ps(); }
static inline vf f_set(float v) { return _mm512_set1_ps(v); }
static inline vf f_load(const float* p) { return _mm512_loadu_ps(p); }
static inline void f_store(float* p, vf v) { _mm512_storeu_ps(p, v); }
static inline vf f_load_n(const float* p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline void f_store_n(float* p, vf v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
static inline vf f_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf f_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf f_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf f_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf f_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf f_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf f_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf f_abs(vf a) { return _mm512_abs_ps(a); }
static inline float f_sum(vf v) { return _mm512_reduce_add_ps(v); }
/// The sums of four vectors' lanes; the first n of them stored.
static inline void f_store_sums(float* p, const vf* v, int n) {
  const vf a = _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xEE));
  const vf b = _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xEE));
  vf c = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  c = _mm512_add_ps(c, _mm512_permute_ps(c, 0x4E));
  c = _mm512_add_ps(c, _mm512_permute_ps(c, 0xB1));
  const __m128 sums = _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, c));
  if (n == 4) {
    _mm_storeu_ps(p, sums);
  } else {
    _mm_mask_storeu_ps(p, (__mmask8)((1u << n) - 1), sums);
  }
}
static inline float f_greatest(vf v) { return _mm512_reduce_max_ps(v); }
static inline vf f_from_int(vi v) { return _mm512_cvtepi32_ps(v); }
static inline vi i_from_float(vf v) { return _mm512_cvtps_epi32(v); }  // to nearest
static inline vf f_from_bits(vi v) { return _mm512_castsi512_ps(v); }

static inline vf f_load_half(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
static inline vf f_load_half_n(const uint16_t* p, int n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
}
static inline vf f_load_brain(const uint16_t* p) {
  return f_from_bits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
static inline vf f_load_brain_n(const uint16_t* p, int n) {
  return f_from_bits(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p)), 16));
}

static inline vi i_zero() { return _mm512_setzero_si512(); }
static inline vi i_set(int32_t v) { return _mm512_set1_epi32(v); }
static inline vi i_load(const void* p) { return _mm512_loadu_si512(p); }
static inline vi i_load_bytes(const void* p, int n) { return _mm512_maskz_loadu_epi8((1ull << n) - 1, p); }
static inline vi i_load_u8(const uint8_t* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)); }
static inline vi i_load_u8_n(const uint8_t* p, int n) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p));
}
static inline void i_store(void* p, vi v) { _mm512_storeu_si512(p, v); }
static inline vi i_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi i_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi i_or(vi a, vi b) { return _mm512_or_si512(a, b); }
static inline vi i_shift_left(vi v, int n) { return _mm512_sll_epi32(v, _mm_cvtsi32_si128(n)); }
static inline vi i_shift_right(vi v, int n) { return _mm512_srl_epi32(v, _mm_cvtsi32_si128(n)); }  // logical
static inline vi i_shift_right_signed(vi v, int n) { return _mm512_sra_epi32(v, _mm_cvtsi32_si128(n)); }
static inline vi h_set(int16_t v) { return _mm512_set1_epi16(v); }
#define h_shift_right(v, n) _mm512_srli_epi16((v), (n))
#define h_shift_left(v, n) _mm512_slli_epi16((v), (n))
static inline vi h_multiply(vi a, vi b) { return _mm512_mullo_epi16(a, b); }  // the low 16 bits
/// Byte i is the byte of v's same 16-byte lane that order's byte i names.
static inline vi b_shuffle(vi v, vi order) { return _mm512_shuffle_epi8(v, order); }

/// 2 * Bits bytes (3, 5 or 6 bits) from p on for each 16-byte lane; they begin at lane_offset.
static constexpr int lane_offset(int, int) { return 0; }
template <int Bits>
static inline vi i_load_lanes(const uint8_t* p) {
  const vi words = _mm512_maskz_loadu_epi16((1u << 4 * Bits) - 1, p);
#define MLXK_LANE(n)                                                                                              \
  (n) * Bits + 7, (n) * Bits + 6, (n) * Bits + 5, (n) * Bits + 4, (n) * Bits + 3, (n) * Bits + 2, (n) * Bits + 1, \
      (n) * Bits
  return _mm512_permutexvar_epi16(_mm512_set_epi16(MLXK_LANE(3), MLXK_LANE(2), MLXK_LANE(1), MLXK_LANE(0)), words);
#undef MLXK_LANE
}

/// Sums of products in progress: one per lane.
typedef vi vs;
static inline vs s_zero() { return i_zero(); }
static inline vf f_from_sums(vs v) { return f_from_int(v); }
/// acc + a0 b0 + a1 b1 in each 32-bit lane.
static inline vi h_multiply_add(vi acc, vi a, vi b) {
#ifdef __AVX512VNNI__
  return _mm512_dpwssd_epi32(acc, a, b);
#else
  return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
#endif
}

/// 16 floats as int16, stored.
static inline void h_store(int16_t* p, vi v) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(v)); }

/// Lane i is v's lane i ^ step; step is 1, 2, 4 or 8.
static inline vf f_exchange(vf v, int step) {
  if (step == 1) return _mm512_permute_ps(v, 0xB1);
  if (step == 2) return _mm512_permute_ps(v, 0x4E);
  return step == 4 ? _mm512_shuffle_f32x4(v, v, 0xB1) : _mm512_shuffle_f32x4(v, v, 0x4E);
}

/// Lane i is i / each; each is a power of two.
static inline vi f_order(int each) {
  const vi iota = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_srl_epi32(iota, _mm_cvtsi32_si128(__builtin_ctz((unsigned)each)));
}
/// An order whose lanes name lanes `n` further.
static inline vi i_moved(vi order, int n) { return i_add(order, i_set(n)); }
/// Lane i is v's lane order[i].
static inline vf f_pick(vf v, vi order) { return _mm512_permutexvar_ps(order, v); }

#ifdef __AVX512VNNI__
// Operations that byte_rows.inc and panels of bytes need.
#define MLXK_BYTE_PRODUCTS
#define MLXK_BYTE_DOTS
/// acc + the four products of unsigned and signed bytes in each 32-bit lane.
static inline vi b_multiply_add(vi acc, vi weights, vi digits) { return _mm512_dpbusd_epi32(acc, weights, digits); }
/// Unsigned bytes in the form that b_multiply_add takes, less kByteOffset each.
static inline vi b_weights(vi bytes) { return bytes; }
static constexpr float kByteOffset = 0;
static inline vi i_times_256(vi v) { return _mm512_slli_epi32(v, 8); }
/// The low bytes of the lanes, stored.
static inline void b_store(uint8_t* p, vi v) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(v)); }
/// The even or the odd lanes of a, then those of b.
static inline vi i_every_second(vi a, vi b, int first) {
  const vi even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutex2var_epi32(a, i_add(even, i_set(first)), b);
}
/// Lane 4 j + i is the sum of the four lanes from 4 j on of v[i].
static inline vi i_sums_of_four(const vi* v) {
  const vi a = i_add(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const vi b = i_add(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  return i_add(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}
/// The even or the odd quarters (of four lanes) of a, then those of b.
static inline vi i_even_quarters(vi a, vi b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
static inline vi i_odd_quarters(vi a, vi b) { return _mm512_shuffle_i32x4(a, b, 0xDD); }
/// Lane 4 j + i is p[j].
static inline vf f_load_quarters(const float* p) {
  const vi order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  return _mm512_permutexvar_ps(order, _mm512_castps128_ps512(_mm_loadu_ps(p)));
}
/// An order for f_pick_quarters: lane 4 j + i names lane j / each.
static inline vi quarters_order(int each) {
  const vi order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  return _mm512_srl_epi32(order, _mm_cvtsi32_si128(__builtin_ctz((unsigned)each)));
}
/// Lane 4 j + i is v[i]'s lane order[4 j + i].
static inline vf f_pick_quarters(const vf* v, vi order) {
  const vi second = _mm512_set_epi32(16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0, 16, 0);
  const vi both = i_add(order, second);
  return _mm512_mask_blend_ps(0xCCCC, _mm512_permutex2var_ps(v[0], both, v[1]),
                              _mm512_permutex2var_ps(v[2], both, v[3]));
}
#endif
