// Weights as operands of mma. Defines: BITS (4, 8; 16: bfloat16 without scales), MX (1: e2m1 with powers of two as
// scales), GROUP (32, 64, 128), SCALE_TYPE.
//
// A step is the weights of a row between two changes of the scale, 64 at most. The four threads of a row hold 16 (8)
// neighbouring weights each; which of them meet in one product does not matter as long as activations have the same
// order. For 4 bits the order within eight is 0 4 1 5 2 6 3 7: nibbles 16 bits apart become a pair after one shift and
// one mask.
#define STEP (GROUP < 64 ? GROUP : 64)
#define LANE_WEIGHTS (STEP / 4)             // of a step, in a thread, for each row
#define LANE_WORDS (LANE_WEIGHTS * BITS / 32)
#define PAIRS (LANE_WEIGHTS / 2)
#define PRODUCTS (LANE_WEIGHTS / 4)         // mma for each step
#define ZERO (BITS == 4 && !MX ? 128.0f : 0.0f)  // added to each weight's integer

// The pairs of one row's thread: integers of affine weights, exact in bf16; e2m1 unchanged.
template <int WORDS = LANE_WORDS>
DEVICE void unpack(const u32* words, u32* pairs) {
  if (BITS == 16) {
    for (int i = 0; i < WORDS; ++i) pairs[i] = words[i];
  } else if (BITS == 4) {
    for (int j = 0; j < WORDS; ++j) {
      for (int i = 0; i < 4; ++i) {
        u32 pair;
        if (MX) {
          const u32 w = i == 3 ? words[j] : words[j] << (12 - 4 * i);
          pair = (w & 0x80008000u) | ((w & 0x70007000u) >> 6);
          // times 2^126, the difference of the exponents' biases
          asm("fma.rn.bf16x2 %0, %0, %1, %2;" : "+r"(pair) : "r"(0x7e807e80u), "r"(0x80008000u));
        } else {
          asm("lop3.b32 %0, %1, 0x000f000f, 0x43004300, 0xea;" : "=r"(pair) : "r"(words[j] >> (4 * i)));
        }
        pairs[4 * j + i] = pair;
      }
    }
  } else {
    for (int j = 0; j < WORDS; ++j) {
      for (int i = 0; i < 2; ++i) {
        const float low = __uint_as_float(__byte_perm(words[j], 0x4b000000u, 0x7440 + 2 * i)) - 8388608.0f;
        const float high = __uint_as_float(__byte_perm(words[j], 0x4b000000u, 0x7441 + 2 * i)) - 8388608.0f;
        pairs[2 * j + i] = __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
      }
    }
  }
}

// Eight activations (four pairs in their order) as the pairs that meet those of unpack.
DEVICE void in_weight_order(uint4 x, u32* pairs) {
  if (BITS == 4) {
    pairs[0] = __byte_perm(x.x, x.z, 0x5410);
    pairs[1] = __byte_perm(x.x, x.z, 0x7632);
    pairs[2] = __byte_perm(x.y, x.w, 0x5410);
    pairs[3] = __byte_perm(x.y, x.w, 0x7632);
  } else {
    pairs[0] = x.x, pairs[1] = x.y, pairs[2] = x.z, pairs[3] = x.w;
  }
}

struct Scale {
  float scale, bias;
};
// In memory order, in one word; zero if there are none.
DEVICE u32 raw_scale(const void* scales, long long at) {
  if (BITS == 16 || !scales) return 0;
  if (MX) return ((const u8*)scales)[at];
  return SCALE_TYPE == F32 ? ((const u32*)scales)[at] : ((const u16*)scales)[at];
}
DEVICE float scale_number(u32 raw) {
  return SCALE_TYPE == F32 ? __uint_as_float(raw) : to_float<SCALE_TYPE == F32 ? BF16 : SCALE_TYPE>((u16)raw);
}
DEVICE Scale scale_of(u32 scale, u32 bias) {
  if (BITS == 16) return {1, 0};
  if (MX) return {__uint_as_float(scale == 0 ? 0x00400000u : scale << 23), 0};
  const float s = scale_number(scale);
  return {s, scale_number(bias) - ZERO * s};
}
