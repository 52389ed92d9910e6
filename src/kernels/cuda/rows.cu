// Small operations on rows: norms, and activations as operands of qmm.cu and grouped.cu. Defines: TYPE, NORM_TYPE,
// ORDERED (1: eight operands have the order of weights of four bits, 0 4 1 5 2 6 3 7; optional).
#ifndef ORDERED
#define ORDERED 0
#endif

struct NormParams {
  const void* x;       // [n, columns]
  const void* weight;  // [columns], or null: no norm
  void* y;             // [n, columns] of TYPE; or the operands [n · PARTS, columns] of bf16
  int columns;
  float eps;
};

// Rows of TYPE, normed, as a sum of bf16 numbers: one of bf16, two of float16, three of float32. A block for each row.
#define PARTS (TYPE == BF16 ? 1 : TYPE == F16 ? 2 : 3)
extern "C" __global__ void __launch_bounds__(256) operands(const __grid_constant__ NormParams p) {
  let_next_begin();
  wait_for_earlier();
  __shared__ float squares[8];
  const long long row = blockIdx.x;
  float scale = 1;
  if (p.weight) {
    float sum = 0;
    for (int c = threadIdx.x; c < p.columns / 8; c += 256) {
      float x[8];
      load8<TYPE>(p.x, row * p.columns + c * 8, x);
      for (int i = 0; i < 8; ++i) sum += x[i] * x[i];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int w = 0; w < 8; ++w) sum += squares[w];
    scale = rsqrtf(sum / p.columns + p.eps);
  }
  for (int c = threadIdx.x; c < p.columns / 8; c += 256) {
    float x[8], factor[8];
    load8<TYPE>(p.x, row * p.columns + c * 8, x);
    if (p.weight) load8<NORM_TYPE>(p.weight, c * 8, factor);
    for (int i = 0; i < 8; ++i) {
      if (p.weight) x[i] = to_float<TYPE>(from_float<TYPE>(x[i] * scale * factor[i]));
    }
    for (int part = 0; part < PARTS; ++part) {
      u32 words[4];
      for (int i = 0; i < 4; ++i) {
        words[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
        x[2 * i] -= low_bf16(words[i]);
        x[2 * i + 1] -= high_bf16(words[i]);
      }
      uint4 all{words[0], words[1], words[2], words[3]};
      if (ORDERED) {
        all.x = __byte_perm(words[0], words[2], 0x5410), all.y = __byte_perm(words[0], words[2], 0x7632);
        all.z = __byte_perm(words[1], words[3], 0x5410), all.w = __byte_perm(words[1], words[3], 0x7632);
      }
      *(uint4*)((u16*)p.y + (row * PARTS + part) * p.columns + c * 8) = all;
    }
  }
}

struct ActivatedParams {
  const void* gate;
  const void* up;
  void* y;
  long long size;
  int activation;
};

// y = act(gate) * up, element by element. Eight for each thread; size is a multiple of eight.
extern "C" __global__ void __launch_bounds__(256) activated(const __grid_constant__ ActivatedParams p) {
  let_next_begin();
  wait_for_earlier();
  const long long at = ((long long)blockIdx.x * 256 + threadIdx.x) * 8;
  if (at >= p.size) return;
  float gate[8], up[8];
  load8<TYPE>(p.gate, at, gate);
  load8<TYPE>(p.up, at, up);
  __align__(16) Element<TYPE>::type y[8];
  for (int i = 0; i < 8; ++i) y[i] = from_float<TYPE>(activate(p.activation, gate[i]) * up[i]);
  uint4* const to = (uint4*)((Element<TYPE>::type*)p.y + at);
  for (int i = 0; i < (int)(sizeof(y) / 16); ++i) to[i] = ((const uint4*)y)[i];
}
