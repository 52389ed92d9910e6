// Rows of tables, and floats from one type to another.

static void unpack_row(const AffineWeight* w, int64_t row, float* y) {
  const uint8_t* packed = w->packed + row * (w->columns * w->bits / 8);
  const int64_t group = w->group;
  uint8_t q[128];
  for (int64_t g = 0; g < w->columns / group; ++g) {
    const uint8_t* from = packed + g * group * w->bits / 8;
    if (w->bits == 8) {
      memcpy(q, from, (size_t)group);
    } else if (w->bits == 4) {
      for (int64_t i = 0; i < group / 2; ++i) {
        q[2 * i] = from[i] & 15;
        q[2 * i + 1] = (uint8_t)(from[i] >> 4);
      }
    } else if (w->bits == 2) {
      for (int64_t i = 0; i < group; ++i) q[i] = from[i / 4] >> (2 * (i % 4)) & 3;
    } else {
      spread_bytes(from, w->bits, group, q);
    }
    float scale[kLanes], bias[kLanes];
    const int64_t at = row * (w->columns / group) + g;
    f_store(scale, load_floats(w->scales, at, 1, w->type));
    f_store(bias, load_floats(w->biases, at, 1, w->type));
    for (int64_t i = 0; i < group; ++i) y[g * group + i] = scale[0] * (float)q[i] + bias[0];
  }
}

static void unpack_floats(const void* from, int64_t at, int64_t n, FloatType type, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(y + i, load_floats(from, at + i, kLanes, type));
  if (i < n) f_store_n(y + i, load_floats(from, at + i, (int)(n - i), type), (int)(n - i));
}

/// To nearest, ties to even; a NaN stays one.
static inline uint16_t brain_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return (uint16_t)(bits >> 16 | 64);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#ifndef __F16C__
static inline uint16_t half_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // from half of the last step above 65504 on
  if (magnitude < 0x38800000) {                                   // subnormal: the sum rounds at 2^-24
    float value;
    memcpy(&value, &magnitude, 4);
    value += 0.5F;
    memcpy(&bits, &value, 4);
    return (uint16_t)(sign | (bits - 0x3f000000));
  }
  return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
#endif

static void pack_floats(const float* x, int64_t n, FloatType type, void* to) {
  uint16_t* h = (uint16_t*)to;
  int64_t i = 0;
  if (type == kFloat32) {
    memcpy(to, x, (size_t)n * 4);
  } else if (type == kBFloat16) {
    for (; i < n; ++i) h[i] = brain_of(x[i]);
  } else {
#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
      _mm_storeu_si128((__m128i*)(h + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; ++i) h[i] = (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x[i]), _MM_FROUND_TO_NEAREST_INT), 0);
#else
    for (; i < n; ++i) h[i] = half_of(x[i]);
#endif
  }
}
