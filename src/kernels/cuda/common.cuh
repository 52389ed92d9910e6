// Functions that the kernels share. No header of the CUDA toolkit is included: NVRTC finds none on a machine without
// one.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__

// Element types, numbered as the host passes them.
#define F32 0
#define F16 1
#define BF16 2

template <int T>
struct Element {
  typedef u16 type;
};
template <>
struct Element<F32> {
  typedef float type;
};

template <int T>
DEVICE float to_float(typename Element<T>::type x);
template <>
DEVICE float to_float<F32>(float x) {
  return x;
}
template <>
DEVICE float to_float<F16>(u16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
template <>
DEVICE float to_float<BF16>(u16 x) {
  return __uint_as_float((u32)x << 16);
}

template <int T>
DEVICE typename Element<T>::type from_float(float x);
template <>
DEVICE float from_float<F32>(float x) {
  return x;
}
template <>
DEVICE u16 from_float<F16>(float x) {
  u16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
template <>
DEVICE u16 from_float<BF16>(float x) {
  u16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}

DEVICE u32 pack_bf16(float low, float high) {
  u32 y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
DEVICE float low_bf16(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float high_bf16(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

// Eight elements, 16-byte aligned.
template <int T>
DEVICE void load8(const void* data, long long at, float* x) {
  if (T == F32) {
    const float4* from = (const float4*)((const float*)data + at);
    const float4 a = from[0], b = from[1];
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  } else {
    const uint4 a = *(const uint4*)((const u16*)data + at);
    const u32 w[4] = {a.x, a.y, a.z, a.w};
    for (int i = 0; i < 4; ++i) {
      x[2 * i] = to_float<T == F32 ? BF16 : T>((u16)w[i]);
      x[2 * i + 1] = to_float<T == F32 ? BF16 : T>((u16)(w[i] >> 16));
    }
  }
}

// Weights are read once and need no place in L1; the sectors beside them are read next.
DEVICE u32 stream32(const void* p) {
  u32 x;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.u32 %0, [%1];" : "=r"(x) : "l"(p));
  return x;
}
DEVICE uint2 stream64(const void* p) {
  uint2 x;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];" : "=r"(x.x), "=r"(x.y) : "l"(p));
  return x;
}
DEVICE uint4 stream128(const void* p) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(p));
  return x;
}

// Launches may overlap (cuda_launch in driver.h): each kernel lets the next one begin, which must wait before it reads
// what earlier ones write, or writes what they read.
DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DEVICE float warp_sum(float x) {
  for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

DEVICE float activate(int activation, float x) {
  if (activation == 0) return x / (1.0f + __expf(-x));
  if (activation == 1) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
  return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

// c += a · b of [16, 32] unsigned and [32, 8] signed bytes: a's registers hold rows g, g + 8, g, g + 8 and columns 4t to
// 4t + 3, 4t to 4t + 3, and the same of the second half.
DEVICE void mma_bytes(int* c, const u32* a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a · b of [16, 16] and [16, 8]: a's registers hold rows g, g + 8, g, g + 8 and columns 2t, 2t, 2t + 8, 2t + 8.
DEVICE void mma(float* c, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
