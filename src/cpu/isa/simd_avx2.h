// Vectors of 8 floats: AVX2, FMA, F16C.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static constexpr int kLanes = 8;
typedef __m256 vf;   // 8 floats
typedef __m256i vi;  // 8 int32, 16 int16 or 32 bytes

static inline vf f_zero() { return _mm256_setzero_ps(); }
static inline vf f_set(float v) { return _mm256_set1_ps(v); }
static inline vf f_load(const float* p) { return _mm256_loadu_ps(p); }
static inline void f_store(float* p, vf v) { _mm256_storeu_ps(p, v); }
static inline vf f_load_n(const float* p, int n) {
  float t[8] = {0};
  memcpy(t, p, (size_t)n * 4);
  return f_load(t);
}
static inline void f_store_n(float* p, vf v, int n) {
  float t[8];
  f_store(t, v);
  memcpy(p, t, (size_t)n * 4);
}
static inline vf f_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf f_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf f_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf f_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf f_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf f_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf f_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf f_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
static inline float f_sum(vf v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
/// The sums of four vectors' lanes; the first n of them stored.
static inline void f_store_sums(float* p, const vf* v, int n) {
  const vf a = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20), _mm256_permute2f128_ps(v[0], v[1], 0x31));
  const vf b = _mm256_add_ps(_mm256_permute2f128_ps(v[2], v[3], 0x20), _mm256_permute2f128_ps(v[2], v[3], 0x31));
  const vf c = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));  // 0 0 2 2, 1 1 3 3
  const vf d = _mm256_add_ps(c, _mm256_permute_ps(c, 0xB1));
  const __m128 even = _mm256_castps256_ps128(d), odd = _mm256_extractf128_ps(d, 1);
  const __m128 sums = _mm_blend_ps(even, odd, 0xA);
  float t[4];
  _mm_storeu_ps(t, sums);
  if (n == 4) {
    _mm_storeu_ps(p, sums);
  } else {
    memcpy(p, t, (size_t)n * 4);
  }
}
static inline float f_greatest(vf v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static inline vf f_from_int(vi v) { return _mm256_cvtepi32_ps(v); }
static inline vi i_from_float(vf v) { return _mm256_cvtps_epi32(v); }  // to nearest
static inline vf f_from_bits(vi v) { return _mm256_castsi256_ps(v); }

static inline vf f_load_half(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
static inline vf f_load_half_n(const uint16_t* p, int n) {
  uint16_t t[8] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_half(t);
}
static inline vf f_load_brain(const uint16_t* p) {
  return f_from_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
static inline vf f_load_brain_n(const uint16_t* p, int n) {
  uint16_t t[8] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_brain(t);
}

static inline vi i_zero() { return _mm256_setzero_si256(); }
static inline vi i_set(int32_t v) { return _mm256_set1_epi32(v); }
static inline vi i_load(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
static inline vi i_load_bytes(const void* p, int n) {
  uint8_t t[32] = {0};
  memcpy(t, p, (size_t)n);
  return i_load(t);
}
static inline vi i_load_u8(const uint8_t* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)); }
static inline vi i_load_u8_n(const uint8_t* p, int n) {
  uint64_t bytes = 0;
  memcpy(&bytes, p, (size_t)n);
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
}
static inline void i_store(void* p, vi v) { _mm256_storeu_si256((__m256i*)p, v); }
static inline vi i_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi i_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi i_or(vi a, vi b) { return _mm256_or_si256(a, b); }
static inline vi i_shift_left(vi v, int n) { return _mm256_sll_epi32(v, _mm_cvtsi32_si128(n)); }
static inline vi i_shift_right(vi v, int n) { return _mm256_srl_epi32(v, _mm_cvtsi32_si128(n)); }  // logical
static inline vi i_shift_right_signed(vi v, int n) { return _mm256_sra_epi32(v, _mm_cvtsi32_si128(n)); }
static inline vi h_set(int16_t v) { return _mm256_set1_epi16(v); }
#define h_shift_right(v, n) _mm256_srli_epi16((v), (n))
#define h_shift_left(v, n) _mm256_slli_epi16((v), (n))
static inline vi h_multiply(vi a, vi b) { return _mm256_mullo_epi16(a, b); }  // the low 16 bits
/// Byte i is the byte of v's same 16-byte lane that order's byte i names.
static inline vi b_shuffle(vi v, vi order) { return _mm256_shuffle_epi8(v, order); }

/// 2 * Bits bytes (3, 5 or 6 bits) from p on for each 16-byte lane; they begin at lane_offset.
static constexpr int lane_offset(int bits, int lane) { return lane == 1 && bits != 6 ? 2 : 0; }
template <int Bits>
static inline vi i_load_lanes(const uint8_t* p) {
  const vi mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(Bits), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
  const vi words = _mm256_maskload_epi32((const int*)p, mask);
  constexpr int second = Bits / 2;  // the 32-bit word in which the second lane's bytes begin
  return _mm256_permutevar8x32_epi32(words, _mm256_set_epi32(second + 3, second + 2, second + 1, second, 3, 2, 1, 0));
}

/// Sums of products in progress: one per lane.
typedef vi vs;
static inline vs s_zero() { return i_zero(); }
static inline vf f_from_sums(vs v) { return f_from_int(v); }
/// acc + a0 b0 + a1 b1 in each 32-bit lane.
static inline vi h_multiply_add(vi acc, vi a, vi b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }

/// 8 floats as int16, stored.
static inline void h_store(int16_t* p, vi v) {
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

/// Lane i is v's lane i ^ step; step is 1, 2 or 4.
static inline vf f_exchange(vf v, int step) {
  if (step == 1) return _mm256_permute_ps(v, 0xB1);
  return step == 2 ? _mm256_permute_ps(v, 0x4E) : _mm256_permute2f128_ps(v, v, 1);
}

/// Lane i is i / each; each is a power of two.
static inline vi f_order(int each) {
  const vi iota = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  return _mm256_srl_epi32(iota, _mm_cvtsi32_si128(__builtin_ctz((unsigned)each)));
}
/// An order whose lanes name lanes `n` further.
static inline vi i_moved(vi order, int n) { return i_add(order, i_set(n)); }
/// Lane i is v's lane order[i].
static inline vf f_pick(vf v, vi order) { return _mm256_permutevar8x32_ps(v, order); }
