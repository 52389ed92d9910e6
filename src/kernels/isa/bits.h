// Unpacking of quantised values, and loads of float types. Included once by each instruction set's source.

/// `n` floats of `type` from element `i` on; the rest is zero.
static inline vf load_floats(const void* p, int64_t i, int n, FloatType type) {
  if (type == kFloat32) return n == kLanes ? f_load((const float*)p + i) : f_load_n((const float*)p + i, n);
  const uint16_t* h = (const uint16_t*)p + i;
  if (type == kFloat16) return n == kLanes ? f_load_half(h) : f_load_half_n(h, n);
  return n == kLanes ? f_load_brain(h) : f_load_brain_n(h, n);
}

static inline bool is_small_scale(FloatType type) { return type == kScaleE8M0 || type == kScaleE4M3; }

static inline float power_of_two(uint8_t exponent) {
  const uint32_t bits = exponent == 0 ? 1u << 22 : (uint32_t)exponent << 23;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/// `n` scales of one byte from `i` on: powers of two, or e4m3 numbers; the rest is a number of no meaning.
static inline vf load_small_scales(const AffineWeight* w, int64_t i, int n) {
  const uint8_t* p = (const uint8_t*)w->scales + i;
  const vi v = n == kLanes ? i_load_u8(p) : i_load_u8_n(p, n);
  if (w->type == kScaleE8M0) return f_max(f_from_bits(i_shift_left(v, 23)), f_set(0x1p-127F));  // 0 is 2^-127
  const vi bits = i_or(i_shift_left(i_and(v, i_set(0x7f)), 20), i_shift_left(i_and(v, i_set(0x80)), 24));
  return f_mul(f_from_bits(bits), f_set(0x1p120F));
}

/// Widths that divide 16 are taken apart in vectors; the others become bytes first.
static constexpr bool divides_16(int bits) { return bits == 2 || bits == 4 || bits == 8; }
static constexpr int unpacked_bits(int bits) { return divides_16(bits) ? bits : 8; }

/// Eight values of 3, 5 or 6 bits, one a byte.
static inline uint64_t spread_eight(const uint8_t* p, int bits) {
  uint64_t packed = 0;
  memcpy(&packed, p, (size_t)bits);
#ifdef __BMI2__
  return _pdep_u64(packed, 0x0101010101010101ull * ((1u << bits) - 1));
#else
  uint64_t bytes = 0;
  for (int i = 0; i < 8; ++i) bytes |= (packed >> (i * bits) & ((1u << bits) - 1)) << (8 * i);
  return bytes;
#endif
}

/// `n` values (a multiple of 8) from p as bytes.
static inline void spread_bytes(const uint8_t* p, int bits, int64_t n, uint8_t* out) {
  for (int64_t i = 0; i < n; i += 8) {
    const uint64_t bytes = spread_eight(p + i / 8 * bits, bits);
    memcpy(out + i, &bytes, 8);
  }
}
