// The largest of each row of logits, in one launch. The first of equals, as std::max_element.
#define THREADS 512

struct ArgmaxParams {
  const float* logits;  // [rows, columns]
  int* tokens;          // [rows]
  u64* parts;           // [rows, blocks of a row]
  u32* arrived;         // [rows], zero before and after
  int columns;
};

// Order of floats as that of integers, then of columns downwards; a NaN is the least.
DEVICE u64 rank(float x, int column) {
  if (x != x) return 0;
  const u32 bits = __float_as_uint(x);
  return (u64)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (0xffffffffu - (u32)column);
}

DEVICE u64 block_max(u64 x) {
  __shared__ u64 warps[THREADS / 32];
  for (int step = 16; step > 0; step >>= 1) {
    const u64 other = __shfl_xor_sync(0xffffffffu, x, step);
    if (other > x) x = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  for (int w = 0; w < THREADS / 32; ++w)
    if (warps[w] > x) x = warps[w];
  return x;
}

extern "C" __global__ void __launch_bounds__(THREADS) argmax(const __grid_constant__ ArgmaxParams p) {
  __shared__ bool is_last;
  const float* const row = p.logits + (long long)blockIdx.y * p.columns;
  const int each = ((p.columns + gridDim.x - 1) / gridDim.x + 3) / 4 * 4;
  const int begin = blockIdx.x * each, end = min(begin + each, p.columns);
  u64 best = 0;
  for (int c = begin + (int)threadIdx.x; c < end; c += THREADS) {
    const u64 at = rank(__ldcs(row + c), c);
    if (at > best) best = at;
  }
  best = block_max(best);
  if (threadIdx.x == 0) {
    p.parts[blockIdx.y * gridDim.x + blockIdx.x] = best;
    __threadfence();
    is_last = atomicAdd(p.arrived + blockIdx.y, 1) == gridDim.x - 1;
    if (is_last) p.arrived[blockIdx.y] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  best = 0;
  for (int b = threadIdx.x; b < gridDim.x; b += THREADS) {
    const u64 at = __ldcg(p.parts + blockIdx.y * gridDim.x + b);
    if (at > best) best = at;
  }
  best = block_max(best);
  if (threadIdx.x == 0) p.tokens[blockIdx.y] = best == 0 ? 0 : (int)(0xffffffffu - (u32)best);
}
