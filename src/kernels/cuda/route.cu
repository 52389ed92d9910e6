// Mixtures of experts: the choice of each token's experts, the tokens grouped by expert, and the weighted sum of the
// experts' outputs. Defines: LANE_EXPERTS (routing.cuh), TYPE of activations.
//
// A pair is a token and one of its experts: pair t · top_k + j.
#define ROUTE_WARPS 4
#define MAX_EXPERTS 1024

// A warp for each token.
extern "C" __global__ void __launch_bounds__(ROUTE_WARPS * 32) route(const __grid_constant__ RouteParams p) {
  let_next_begin();
  wait_for_earlier();
  __shared__ float strengths[ROUTE_WARPS][LANE_EXPERTS * 32];
  const int warp = threadIdx.x / 32, token = blockIdx.x * ROUTE_WARPS + warp;
  if (token < p.tokens) route_row(p, token, strengths[warp], threadIdx.x % 32);
}

struct GroupParams {
  const int* ids;  // [pairs]
  int* order;      // [pairs]: sorted by expert
  int* groups;     // their number, then {expert, first, count} of each: entries of `order` with the same expert
  int pairs, experts, at_once;  // at_once: pairs of a group at most
};

// One block. The order of an expert's pairs is arbitrary, which changes no result: each is computed independently.
extern "C" __global__ void __launch_bounds__(MAX_EXPERTS) group(const __grid_constant__ GroupParams p) {
  let_next_begin();
  wait_for_earlier();
  __shared__ int counts[MAX_EXPERTS], firsts[MAX_EXPERTS];
  __shared__ int warp_pairs[32], warp_groups[32];
  const int e = threadIdx.x, lane = e % 32, warp = e / 32;
  counts[e] = 0;
  __syncthreads();
  for (int i = e; i < p.pairs; i += MAX_EXPERTS) atomicAdd(&counts[p.ids[i]], 1);
  __syncthreads();
  // Prefix sums of pairs and groups over the experts.
  const int count = counts[e], own = (count + p.at_once - 1) / p.at_once;
  int pairs = count, groups = own;
  for (int step = 1; step < 32; step *= 2) {
    const int a = __shfl_up_sync(0xffffffffu, pairs, step), b = __shfl_up_sync(0xffffffffu, groups, step);
    if (lane >= step) pairs += a, groups += b;
  }
  if (lane == 31) warp_pairs[warp] = pairs, warp_groups[warp] = groups;
  __syncthreads();
  for (int w = 0; w < warp; ++w) pairs += warp_pairs[w], groups += warp_groups[w];
  firsts[e] = pairs - count;
  if (e == MAX_EXPERTS - 1) p.groups[0] = groups;
  for (int i = 0; i < own; ++i) {
    int* const to = p.groups + 1 + (groups - own + i) * 3;
    to[0] = e, to[1] = pairs - count + i * p.at_once, to[2] = min(p.at_once, count - i * p.at_once);
  }
  __syncthreads();
  for (int i = e; i < p.pairs; i += MAX_EXPERTS) p.order[atomicAdd(&firsts[p.ids[i]], 1)] = i;
}

struct CombineParams {
  const void* each;      // [tokens, top_k, columns]
  const float* weights;  // [tokens, top_k]
  const void* residual;  // [tokens, columns]
  void* y;               // [tokens, columns]
  int columns, top_k;
  float multiplier;
};

// y = residual + multiplier * the weighted sum. A block for each token; columns are a multiple of eight.
extern "C" __global__ void __launch_bounds__(256) combine(const __grid_constant__ CombineParams p) {
  let_next_begin();
  wait_for_earlier();
  const long long token = blockIdx.x;
  for (int c = threadIdx.x; c < p.columns / 8; c += 256) {
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0}, x[8];
    for (int j = 0; j < p.top_k; ++j) {
      const float weight = p.weights[token * p.top_k + j];
      load8<TYPE>(p.each, (token * p.top_k + j) * p.columns + c * 8, x);
      for (int i = 0; i < 8; ++i) sum[i] += weight * x[i];
    }
    load8<TYPE>(p.residual, token * p.columns + c * 8, x);
    __align__(16) Element<TYPE>::type y[8];
    for (int i = 0; i < 8; ++i) y[i] = from_float<TYPE>(x[i] + p.multiplier * sum[i]);
    uint4* const to = (uint4*)((Element<TYPE>::type*)p.y + token * p.columns + c * 8);
    for (int i = 0; i < (int)(sizeof(y) / 16); ++i) to[i] = ((const uint4*)y)[i];
  }
}
