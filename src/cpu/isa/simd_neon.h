// Vectors of 4 floats: NEON, which every arm64 machine has.
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

static constexpr int kLanes = 4;
typedef float32x4_t vf;
typedef int32x4_t vi;  // 4 int32, 8 int16 or 16 bytes

static inline vf f_zero() { return vdupq_n_f32(0); }
static inline vf f_set(float v) { return vdupq_n_f32(v); }
static inline vf f_load(const float* p) { return vld1q_f32(p); }
static inline void f_store(float* p, vf v) { vst1q_f32(p, v); }
static inline vf f_load_n(const float* p, int n) {
  float t[4] = {0};
  memcpy(t, p, (size_t)n * 4);
  return f_load(t);
}
static inline void f_store_n(float* p, vf v, int n) {
  float t[4];
  f_store(t, v);
  memcpy(p, t, (size_t)n * 4);
}
static inline vf f_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf f_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf f_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf f_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf f_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
// Not fmax and fmin: for a NaN and a number the second operand counts, as on x86.
static inline vf f_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vf f_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vf f_abs(vf a) { return vabsq_f32(a); }
static inline float f_sum(vf v) { return vaddv_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v))); }
/// The sums of four vectors' lanes; the first n of them stored.
static inline void f_store_sums(float* p, const vf* v, int n) {
  for (int i = 0; i < n; ++i) p[i] = f_sum(v[i]);
}
static inline float f_greatest(vf v) { return vmaxvq_f32(v); }
static inline vf f_from_int(vi v) { return vcvtq_f32_s32(v); }
static inline vi i_from_float(vf v) { return vcvtnq_s32_f32(v); }  // to nearest
static inline vf f_from_bits(vi v) { return vreinterpretq_f32_s32(v); }

static inline vf f_load_half(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline vf f_load_half_n(const uint16_t* p, int n) {
  uint16_t t[4] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_half(t);
}
static inline vf f_load_brain(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
static inline vf f_load_brain_n(const uint16_t* p, int n) {
  uint16_t t[4] = {0};
  memcpy(t, p, (size_t)n * 2);
  return f_load_brain(t);
}

static inline vi i_zero() { return vdupq_n_s32(0); }
static inline vi i_set(int32_t v) { return vdupq_n_s32(v); }
static inline vi i_load(const void* p) { return vreinterpretq_s32_u8(vld1q_u8((const uint8_t*)p)); }
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
static inline void i_store(void* p, vi v) { vst1q_u8((uint8_t*)p, vreinterpretq_u8_s32(v)); }
static inline vi i_add(vi a, vi b) { return vaddq_s32(a, b); }
static inline vi i_and(vi a, vi b) { return vandq_s32(a, b); }
static inline vi i_or(vi a, vi b) { return vorrq_s32(a, b); }
static inline vi i_shift_left(vi v, int n) { return vshlq_s32(v, vdupq_n_s32(n)); }
static inline vi i_shift_right(vi v, int n) {  // logical
  return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(-n)));
}
static inline vi i_shift_right_signed(vi v, int n) { return vshlq_s32(v, vdupq_n_s32(-n)); }
static inline vi h_set(int16_t v) { return vreinterpretq_s32_s16(vdupq_n_s16(v)); }
static inline vi h_shift_right(vi v, int n) { return vreinterpretq_s32_u16(vreinterpretq_u16_s32(v) >> n); }
static inline vi h_shift_left(vi v, int n) { return vreinterpretq_s32_u16(vreinterpretq_u16_s32(v) << n); }
static inline vi h_multiply(vi a, vi b) {  // the low 16 bits
  return vreinterpretq_s32_s16(vmulq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
}
/// Byte i is the byte of v that order's byte i names.
static inline vi b_shuffle(vi v, vi order) {
  return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(v), vreinterpretq_u8_s32(order)));
}

/// 2 * Bits bytes (3, 5 or 6 bits) from p on; they begin at lane_offset.
static constexpr int lane_offset(int, int) { return 0; }
template <int Bits>
static inline vi i_load_lanes(const uint8_t* p) {
  uint64_t low = 0, high = 0;
  memcpy(&low, p, Bits == 3 ? 4 : 8);
  memcpy(&high, p + (Bits == 3 ? 4 : 8), Bits == 6 ? 4 : 2);
  if (Bits == 3) return vreinterpretq_s32_u64(vcombine_u64(vcreate_u64(low | high << 32), vcreate_u64(0)));
  return vreinterpretq_s32_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
}

/// Sums of products in progress: those of the low and of the high half, whose neighbours are added at the end.
typedef struct {
  int32x4_t low, high;
} vs;
static inline vs s_zero() { return (vs){i_zero(), i_zero()}; }
static inline vf f_from_sums(vs v) { return f_from_int(vpaddq_s32(v.low, v.high)); }
/// acc + a0 b0 + a1 b1 in the values that become each 32-bit lane.
static inline vs h_multiply_add(vs acc, vi a, vi b) {
  const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
  return (vs){vmlal_s16(acc.low, vget_low_s16(x), vget_low_s16(y)), vmlal_high_s16(acc.high, x, y)};
}

/// 4 floats as int16, stored.
static inline void h_store(int16_t* p, vi v) { vst1_s16(p, vqmovn_s32(v)); }

#ifdef __ARM_FEATURE_DOTPROD
#define MLXK_BYTE_DOTS
/// acc + the four products of signed bytes in each 32-bit lane.
static inline vi b_multiply_add(vi acc, vi weights, vi x) {
  return vdotq_s32(acc, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(x));
}
/// Unsigned bytes in the form that b_multiply_add takes, less kByteOffset each.
static inline vi b_weights(vi bytes) { return veorq_s32(bytes, vdupq_n_s32((int32_t)0x80808080)); }
static constexpr float kByteOffset = 128;
/// The low bytes of the lanes, stored.
static inline void b_store(uint8_t* p, vi v) {
  const int16x4_t half = vmovn_s32(v);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(half, half));
  vst1_lane_s32((int32_t*)p, vreinterpret_s32_s8(bytes), 0);
}
#endif

/// Lane i is v's lane i ^ step; step is 1 or 2.
static inline vf f_exchange(vf v, int step) { return step == 1 ? vrev64q_f32(v) : vextq_f32(v, v, 2); }

/// Lane i is i / each, as an order of bytes; each is a power of two.
static inline vi f_order(int each) {
  uint8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = (uint8_t)((i / 4 >> __builtin_ctz((unsigned)each)) * 4 + i % 4);
  return i_load(bytes);
}
/// An order whose lanes name lanes `n` further.
static inline vi i_moved(vi order, int n) { return vaddq_s32(order, vdupq_n_s32(n * 0x04040404)); }
/// Lane i is v's lane order[i].
static inline vf f_pick(vf v, vi order) { return f_from_bits(b_shuffle(vreinterpretq_s32_f32(v), order)); }
