// Vectors of 4 floats by the compiler's vector extensions: SSE4.2 on any x86-64-v2 machine, NEON on any arm64 one.
#include <stdint.h>
#include <string.h>

static constexpr int kLanes = 4;
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef int16_t vh __attribute__((vector_size(16)));
typedef uint16_t vu __attribute__((vector_size(16)));
typedef uint32_t vw __attribute__((vector_size(16)));
typedef uint64_t v2 __attribute__((vector_size(16)));

static inline vf f_load(const float* p) {
  vf v;
  memcpy(&v, p, 16);
  return v;
}
static inline void f_store(float* p, vf v) { memcpy(p, &v, 16); }
static inline vf f_set(float v) { return (vf){v, v, v, v}; }
static inline vf f_zero() { return f_set(0); }
static inline vf f_load_n(const float* p, int n) {
  float t[4] = {0};
  memcpy(t, p, (size_t)n * 4);
  return f_load(t);
}
static inline void f_store_n(float* p, vf v, int n) { memcpy(p, &v, (size_t)n * 4); }
static inline vf f_add(vf a, vf b) { return a + b; }
static inline vf f_sub(vf a, vf b) { return a - b; }
static inline vf f_mul(vf a, vf b) { return a * b; }
static inline vf f_div(vf a, vf b) { return a / b; }
static inline vf f_fma(vf a, vf b, vf c) { return a * b + c; }
static inline vf f_choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf f_max(vf a, vf b) { return f_choose(a > b, a, b); }
static inline vf f_min(vf a, vf b) { return f_choose(a < b, a, b); }
static inline vf f_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }
static inline float f_sum(vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
/// The sums of four vectors' lanes; the first n of them stored.
static inline void f_store_sums(float* p, const vf* v, int n) {
  for (int i = 0; i < n; ++i) p[i] = f_sum(v[i]);
}
static inline float f_greatest(vf v) {
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
static inline vf f_from_int(vi v) { return __builtin_convertvector(v, vf); }
static inline vi i_from_float(vf v) {  // to nearest
  const vf magic = f_set(12582912.0F);
  return (vi)(v + magic) - (vi)magic;
}
static inline vf f_from_bits(vi v) { return (vf)v; }

static inline float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
  uint32_t bits;
  float value;
  if (magnitude >= 0x7c00) {
    bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
    memcpy(&value, &bits, 4);
  } else {
    bits = magnitude << 13;  // the exponent is 112 too small, which is also right for subnormals
    memcpy(&value, &bits, 4);
    value *= 0x1p112F;
  }
  memcpy(&bits, &value, 4);
  bits |= sign;
  memcpy(&value, &bits, 4);
  return value;
}
static inline vf f_load_half(const uint16_t* p) {
  return (vf){half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
static inline vf f_load_half_n(const uint16_t* p, int n) {
  uint16_t t[4] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_half(t);
}
static inline vf f_load_brain(const uint16_t* p) {
  return (vf)((vi){p[0] << 16, p[1] << 16, p[2] << 16, (int32_t)((uint32_t)p[3] << 16)});
}
static inline vf f_load_brain_n(const uint16_t* p, int n) {
  uint16_t t[4] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_brain(t);
}

static inline vi i_set(int32_t v) { return (vi){v, v, v, v}; }
static inline vi i_zero() { return i_set(0); }
static inline vi i_load(const void* p) {
  vi v;
  memcpy(&v, p, 16);
  return v;
}
static inline vi i_load_bytes(const void* p, int n) {
  uint8_t t[16] = {0};
  memcpy(t, p, (size_t)n);
  return i_load(t);
}
static inline vi i_load_u8(const uint8_t* p) { return (vi){p[0], p[1], p[2], p[3]}; }
static inline vi i_load_u8_n(const uint8_t* p, int n) {
  uint8_t t[4] = {0};
  memcpy(t, p, (size_t)n);
  return i_load_u8(t);
}
static inline void i_store(void* p, vi v) { memcpy(p, &v, 16); }
static inline vi i_add(vi a, vi b) { return a + b; }
static inline vi i_and(vi a, vi b) { return a & b; }
static inline vi i_or(vi a, vi b) { return a | b; }
static inline vi i_shift_left(vi v, int n) { return (vi)((vw)v << n); }
static inline vi i_shift_right(vi v, int n) { return (vi)((vw)v >> n); }  // logical
static inline vi i_shift_right_signed(vi v, int n) { return v >> n; }
static inline vi h_set(int16_t v) { return (vi)((vh){v, v, v, v, v, v, v, v}); }
static inline vi h_shift_right(vi v, int n) { return (vi)((vu)v >> n); }
static inline vi h_shift_left(vi v, int n) { return (vi)((vu)v << n); }
static inline vi h_multiply(vi a, vi b) { return (vi)((vu)a * (vu)b); }  // the low 16 bits

/// 2 * Bits bytes (3, 5 or 6 bits) from p on; they begin at lane_offset.
static constexpr int lane_offset(int, int) { return 0; }
template <int Bits>
static inline vi i_load_lanes(const uint8_t* p) {
  uint64_t low = 0, high = 0;
  memcpy(&low, p, Bits == 3 ? 4 : 8);
  memcpy(&high, p + (Bits == 3 ? 4 : 8), Bits == 6 ? 4 : 2);
  if (Bits == 3) {
    low |= high << 32;
    high = 0;
  }
  return (vi)((v2){low, high});
}

/// Sums of products in progress: one per lane.
typedef vi vs;
static inline vs s_zero() { return i_zero(); }
static inline vf f_from_sums(vs v) { return f_from_int(v); }

/// b_shuffle: byte i is the byte of v that order's byte i names.
#if defined(__SSE2__)
#include <tmmintrin.h>
static inline vi b_shuffle(vi v, vi order) { return (vi)_mm_shuffle_epi8((__m128i)v, (__m128i)order); }
/// acc + a0 b0 + a1 b1 in each 32-bit lane.
static inline vi h_multiply_add(vi acc, vi a, vi b) { return acc + (vi)_mm_madd_epi16((__m128i)a, (__m128i)b); }
#elif defined(__ARM_NEON)
#include <arm_neon.h>
static inline vi b_shuffle(vi v, vi order) { return (vi)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)order); }
static inline vi h_multiply_add(vi acc, vi a, vi b) {
  const int16x8_t x = vreinterpretq_s16_s32((int32x4_t)a), y = vreinterpretq_s16_s32((int32x4_t)b);
  const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y)), high = vmull_high_s16(x, y);
  return acc + (vi)vpaddq_s32(low, high);
}
#else
static inline vi b_shuffle(vi v, vi order) {
  uint8_t from[16], at[16], to[16];
  memcpy(from, &v, 16);
  memcpy(at, &order, 16);
  for (int i = 0; i < 16; ++i) to[i] = from[at[i] & 15];
  return i_load(to);
}
static inline vi h_multiply_add(vi acc, vi a, vi b) {
  const vi low = (a << 16 >> 16) * (b << 16 >> 16), high = (a >> 16) * (b >> 16);
  return acc + low + high;
}
#endif

/// 4 floats as int16, stored.
static inline void h_store(int16_t* p, vi v) {
  for (int i = 0; i < 4; ++i) p[i] = (int16_t)v[i];
}

/// Lane i is v's lane i ^ step; step is 1 or 2.
static inline vf f_exchange(vf v, int step) {
  return step == 1 ? (vf){v[1], v[0], v[3], v[2]} : (vf){v[2], v[3], v[0], v[1]};
}

/// Lane i is i / each; each is a power of two.
static inline vi f_order(int each) {
  const int s = __builtin_ctz((unsigned)each);
  return (vi){0, 1 >> s, 2 >> s, 3 >> s};
}
/// An order whose lanes name lanes `n` further.
static inline vi i_moved(vi order, int n) { return i_add(order, i_set(n)); }
/// Lane i is v's lane order[i].
static inline vf f_pick(vf v, vi order) {
  float t[4];
  f_store(t, v);
  return (vf){t[order[0] & 3], t[order[1] & 3], t[order[2] & 3], t[order[3] & 3]};
}
