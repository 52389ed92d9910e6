// The next token of each row of logits, in one launch. Defines: TYPE of the logits. A block for each row.
//
// The order of summation depends only on the row's length, so that a seed gives the same tokens again.
#define THREADS 1024
#define WARPS (THREADS / 32)
#define BOUNDS 8  // thresholds that a pass over the row tests
#define PASSES 8  // passes of a search: the distance to the largest is then known to 2^-18 of the first one
#define DISTANCE 24.0f  // logits further below the largest weigh less than 1e-10 of it

struct SampleRow {
  int row;                           // of the logits
  int top_k;                         // 0: all
  float inverse_temperature;         // 0: the largest
  float top_p, min_p;                // 1 and 0: all
  float uniform;                     // in [0, 1)
};

struct SampleParams {
  const void* logits;  // [rows, columns]
  int* tokens;         // [gridDim.x]
  float* checks;       // [gridDim.x]: the row's largest, NaN where there is one
  int columns;
  SampleRow rows[64];
};

// The sum of all threads' x, the same in every thread.
DEVICE float block_sum(float x) {
  __shared__ float warps[WARPS];
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(warps[threadIdx.x % 32]);
}

// Order of floats as that of integers, then of columns downwards.
DEVICE u64 rank(float x, int column) {
  const u32 bits = __float_as_uint(x);
  return (u64)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (0xffffffffu - (u32)column);
}

DEVICE u64 block_max(u64 x) {
  __shared__ u64 warps[WARPS];
  for (int round = 0; round < 2; ++round) {
    for (int step = 16; step > 0; step >>= 1) {
      const u64 other = __shfl_xor_sync(0xffffffffu, x, step);
      if (other > x) x = other;
    }
    if (round == 1) return x;
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    x = warps[threadIdx.x % 32];
  }
  return x;
}

struct Logits {
  const Element<TYPE>::type* at;
  int columns;
  DEVICE float operator[](int column) const { return to_float<TYPE>(at[column]); }
};

// The least distance to the largest (to about 1e-4) within which the logits together weigh `need`: each exp(-distance),
// or 1 if `counts`. Logits further than `most` are ignored.
DEVICE float distance_within(const Logits& x, float largest, float most, float need, bool counts) {
  float low = -1e-30f, high = most;
  for (int pass = 0; pass < PASSES; ++pass) {
    float bounds[BOUNDS], sums[BOUNDS];
    for (int b = 0; b < BOUNDS; ++b) {
      bounds[b] = low + (high - low) * (b + 1) / (BOUNDS + 1);
      sums[b] = 0;
    }
    for (int c = threadIdx.x; c < x.columns; c += THREADS) {
      const float distance = largest - x[c];
      if (!(distance <= most)) continue;
      const float weight = counts ? 1 : __expf(-distance);
      for (int b = 0; b < BOUNDS; ++b) sums[b] += distance <= bounds[b] ? weight : 0;
    }
    float new_low = low, new_high = high;
    for (int b = BOUNDS - 1; b >= 0; --b) {
      if (block_sum(sums[b]) >= need) {
        new_high = bounds[b];
      } else {
        new_low = max(new_low, bounds[b]);
      }
    }
    low = new_low, high = new_high;
  }
  return high;
}

extern "C" __global__ void __launch_bounds__(THREADS) sample(const __grid_constant__ SampleParams p) {
  let_next_begin();
  wait_for_earlier();
  __shared__ float masses[WARPS];
  const SampleRow& wanted = p.rows[blockIdx.x];
  const Logits x{(const Element<TYPE>::type*)p.logits + (long long)wanted.row * p.columns, p.columns};
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  u64 best = 0;
  bool is_nan = false;
  for (int c = threadIdx.x; c < p.columns; c += THREADS) {
    const float value = x[c];
    is_nan |= value != value;
    const u64 at = value != value ? 0 : rank(value, c);
    if (at > best) best = at;
  }
  best = block_max(best);
  const bool any_nan = __syncthreads_or(is_nan);
  const int first = best == 0 ? 0 : (int)(0xffffffffu - (u32)best);
  const float largest = any_nan ? __uint_as_float(0x7fc00000u) : x[first];
  if (threadIdx.x == 0) p.checks[blockIdx.x] = largest, p.tokens[blockIdx.x] = first;
  if (wanted.inverse_temperature == 0 || !(fabsf(largest) < 3e38f)) return;

  // The kept logits: those within `reach` of the largest.
  float reach = 3e38f;
  if (wanted.top_p < 1) {
    float sum = 0;
    for (int c = threadIdx.x; c < p.columns; c += THREADS) sum += __expf(x[c] - largest);
    reach = distance_within(x, largest, DISTANCE, wanted.top_p * block_sum(sum), false);
  }
  if (wanted.min_p > 0) reach = min(reach, -__logf(wanted.min_p));
  if (wanted.top_k > 0 && wanted.top_k < p.columns) {
    float count = 0;
    for (int c = threadIdx.x; c < p.columns; c += THREADS) count += largest - x[c] <= min(reach, 1e4f) ? 1 : 0;
    if (block_sum(count) > wanted.top_k) {
      reach = distance_within(x, largest, min(reach, 1e4f), wanted.top_k, true);
    }
  }

  // Each warp weighs a range of the row; then one of them looks for the token within its own.
  const int each = (p.columns + WARPS - 1) / WARPS, begin = warp * each, end = min(begin + each, p.columns);
  const auto weight_at = [&](int c) {
    const float distance = c < end ? largest - x[c] : 3.1e38f;
    return distance <= reach ? __expf(-distance * wanted.inverse_temperature) : 0;
  };
  float mass = 0;
  for (int c = begin + lane; c < end; c += 32) mass += weight_at(c);
  mass = warp_sum(mass);
  if (lane == 0) masses[warp] = mass;
  __syncthreads();
  float total = 0, before = 0;
  for (int w = 0; w < WARPS; ++w) total += masses[w];
  const float target = wanted.uniform * total;
  int chosen = -1;  // the warp whose range has the token: the last one with any weight, if rounding leaves a remainder
  for (int w = 0; w < WARPS; ++w) {
    if (masses[w] <= 0) continue;
    if (chosen >= 0) before += masses[chosen];
    chosen = w;
    if (before + masses[w] > target) break;
  }
  if (warp != chosen) return;
  int token = first;
  for (int base = begin; base < end; base += 32) {
    const float weight = weight_at(base + lane);
    float sum = weight;
    for (int step = 1; step < 32; step *= 2) {
      const float other = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= step) sum += other;
    }
    const u32 weighs = __ballot_sync(0xffffffffu, weight > 0);
    const u32 beyond = weighs & __ballot_sync(0xffffffffu, before + sum > target);
    if (weighs) token = base + (beyond ? __ffs(beyond) - 1 : 31 - __clz(weighs));
    if (beyond) break;
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
  if (lane == 0) p.tokens[blockIdx.x] = token;
}
