// One new token for each row: norms of the heads, rope, append to the row's cache and attention to it, in one launch.
//
// Defines: TYPE of activations and cache, NORM_TYPE, HEAD_DIM (64, 128, 256), HEADS (query heads of one key head that a
// block takes: 8 at most with TENSOR, else 4), TENSOR (1: by tensor cores, for 16-bit types and HEAD_DIM up to 128).
//
// A block takes a part of a row's tokens for some query heads of one key head (flash decoding); the last of these
// blocks to finish combines the parts. Each of its warps processes its own tokens with its own softmax.
#define WARPS 4
#define THREADS (WARPS * 32)
#define MAX_ROWS 64
#define AT_ONCE (HEAD_DIM / 2 < THREADS ? HEAD_DIM / 2 : THREADS)  // pairs of a vector that are rotated at once
#define LOG2E 1.4426950408889634f
#define NOTHING -1e30f  // the score of a token that is not seen

typedef Element<TYPE>::type T;

struct Row {
  T* keys;  // [kv_heads, capacity, HEAD_DIM]
  T* values;
  long long head_step;  // elements
  int tokens;  // including the new one
};

struct DecodeAttentionParams {
  const T* q;  // [rows, heads · HEAD_DIM]
  const T* k;  // [rows, kv_heads · HEAD_DIM]
  const T* v;
  T* out;                    // [rows, heads · HEAD_DIM]
  const float* frequencies;  // [rope_dims / 2]: angle for each position; null: no rope
  const void* q_norm;        // [HEAD_DIM], or null
  const void* k_norm;
  const float* sinks;        // [heads], or null
  float* parts;              // [rows, head blocks, splits, HEADS, HEAD_DIM + 4]: sums, largest score, total
  u32* arrived;              // [rows, head blocks], zero before and after
  int heads, kv_heads, rope_dims, traditional;
  float norm_eps, rope_scale, scale, soft_cap;
  int window, keep, ring;  // as in AttentionProblem
  Row rows[MAX_ROWS];
};

/// The part of the work that a block does.
struct Work {
  int kv_head, first_head, heads;
  int begin, end;  // of the visible tokens, counted without the gap
  int kept, gap;  // from `kept` on, positions are larger by `gap`
  int position;      // of the new token
  bool newest;       // the new token is the last of these
  T* keys;           // of the key head
  T* values;
};

/// A block's shared memory. The warps' results are in log2: weights are powers of two.
struct Shared {
  float vectors[HEADS + 1][HEAD_DIM];  // queries, then the new key
  T fresh[2][HEAD_DIM];                // the new key and value
  float sums[WARPS][HEADS][HEAD_DIM];
  float tops[WARPS][HEADS], totals[WARPS][HEADS];
  float factors[HEADS][64];            // of the parts
  bool is_last;
};

DEVICE int slot_of(const DecodeAttentionParams& p, int at) {
  return p.ring == 0 || at < p.ring ? at : p.keep + (at - p.keep) % (p.ring - p.keep);
}
DEVICE long long place_of(const DecodeAttentionParams& p, const Work& work, int token) {
  return (long long)slot_of(p, token < work.kept ? token : token + work.gap) * HEAD_DIM;
}
DEVICE float capped(const DecodeAttentionParams& p, float score) {
  return LOG2E * (p.soft_cap > 0 ? p.soft_cap * tanhf(score / p.soft_cap) : score);
}

/// Norms and rotates the queries and, in the block of the newest token, the new key, and appends that and its value.
DEVICE void prepare(const DecodeAttentionParams& p, const Work& work, Shared& s) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int vectors = work.heads + work.newest;  // the key is stored behind the queries
  const auto vector = [&](int h) { return s.vectors[h < work.heads ? h : HEADS]; };
  const T* const q = p.q + ((long long)blockIdx.z * p.heads + work.first_head) * HEAD_DIM;
  const long long key = ((long long)blockIdx.z * p.kv_heads + work.kv_head) * HEAD_DIM;
  // The rotation of this thread's pair, computed while the vectors are loaded.
  const int pairs = p.frequencies ? p.rope_dims / 2 : 0;
  float sine = 0, cosine = 1;
  if (threadIdx.x % AT_ONCE < pairs) sincosf(work.position * p.frequencies[threadIdx.x % AT_ONCE], &sine, &cosine);
  for (int i = threadIdx.x; i < vectors * HEAD_DIM; i += THREADS) {
    const int h = i / HEAD_DIM, d = i % HEAD_DIM;
    vector(h)[d] = to_float<TYPE>(h < work.heads ? q[i] : p.k[key + d]);
  }
  __syncthreads();
  if (p.q_norm) {
    for (int h = warp; h < vectors; h += WARPS) {
      float* const x = vector(h);
      const void* norm = h < work.heads ? p.q_norm : p.k_norm;
      float squares = 0;
      for (int d = lane; d < HEAD_DIM; d += 32) squares += x[d] * x[d];
      const float scale = rsqrtf(warp_sum(squares) / HEAD_DIM + p.norm_eps);
      for (int d = lane; d < HEAD_DIM; d += 32) {
        const float factor = to_float<NORM_TYPE>(((const Element<NORM_TYPE>::type*)norm)[d]);
        x[d] = to_float<TYPE>(from_float<TYPE>(x[d] * scale * factor));
      }
    }
    __syncthreads();
  }
  if (p.frequencies) {
    for (int pair = threadIdx.x % AT_ONCE; pair < pairs; pair += AT_ONCE) {
      if (pair >= AT_ONCE) sincosf(work.position * p.frequencies[pair], &sine, &cosine);
      const int a = p.traditional ? 2 * pair : pair, b = p.traditional ? 2 * pair + 1 : pair + pairs;
      for (int h = threadIdx.x / AT_ONCE; h < vectors; h += THREADS / AT_ONCE) {
        float* const x = vector(h);
        const float u = x[a] * p.rope_scale, v = x[b] * p.rope_scale;
        x[a] = to_float<TYPE>(from_float<TYPE>(u * cosine - v * sine));
        x[b] = to_float<TYPE>(from_float<TYPE>(u * sine + v * cosine));
      }
    }
    __syncthreads();
  }
  if (work.newest) {
    const long long to = (long long)slot_of(p, work.position) * HEAD_DIM;
    for (int d = threadIdx.x; d < HEAD_DIM; d += THREADS) {
      work.keys[to + d] = s.fresh[0][d] = from_float<TYPE>(s.vectors[HEADS][d]);
      work.values[to + d] = s.fresh[1][d] = p.v[key + d];
    }
    __syncthreads();
  }
}

#if TENSOR
// Sixteen tokens at a time: scores [heads, tokens] = q · kᵀ, then [heads, dims] += weights · v, both as products of
// [16, 16] and [16, 8] in which the rows from eight on are unused. Dimensions are in the order in which a thread's
// loads of 16 bytes deliver them, for queries and keys alike.
#define QUADS (HEAD_DIM / 32)  // loads of a token's key in a thread
#define HALVES (HEAD_DIM / 64)

DEVICE void mma16(float* c, u32 a0, u32 a2, u32 b0, u32 b1) {
  const u32 none = 0;
#if TYPE == BF16
  mma(c, a0, none, a2, none, b0, b1);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %5}, {%7, %8}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(none), "r"(a2), "r"(b0), "r"(b1));
#endif
}
DEVICE u32 pack(float low, float high) { return from_float<TYPE>(low) | (u32)from_float<TYPE>(high) << 16; }

struct Tokens {
  uint4 k[2][QUADS];   // of tokens g and g + 8: dimensions 32 i + 8 t on
  uint4 v[4][HALVES];  // of tokens 2t, 2t + 1, 2t + 8, 2t + 9: dimensions 64 i + 8 g on
};

DEVICE void load(const DecodeAttentionParams& p, const Work& work, int base, Tokens& tokens) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int n = 0; n < 2; ++n) {
    const T* key = work.keys + place_of(p, work, min(base + g + 8 * n, work.end - 1)) + 8 * t;
    for (int i = 0; i < QUADS; ++i) tokens.k[n][i] = *(const uint4*)(key + 32 * i);
  }
  for (int n = 0; n < 4; ++n) {
    const T* value = work.values + place_of(p, work, min(base + 2 * t + n % 2 + n / 2 * 8, work.end - 1)) + 8 * g;
    for (int i = 0; i < HALVES; ++i) tokens.v[n][i] = *(const uint4*)(value + 64 * i);
  }
}

DEVICE void attend(const DecodeAttentionParams& p, const Work& work, Shared& s) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  int base = work.begin + warp * 16;
  Tokens tokens;
  if (base < work.end) load(p, work, base, tokens);  // loading while the queries are prepared
  prepare(p, work, s);

  u32 q[QUADS][4];
  for (int i = 0; i < QUADS; ++i) {
    const float* from = s.vectors[min(g, HEADS - 1)] + 32 * i + 8 * t;
    for (int j = 0; j < 4; ++j) q[i][j] = g < work.heads ? pack(from[2 * j], from[2 * j + 1]) : 0;
  }
  float y[HALVES][8][4], top = NOTHING, total = 0;
  for (int i = 0; i < HALVES; ++i)
    for (int j = 0; j < 8; ++j)
      for (int c = 0; c < 4; ++c) y[i][j][c] = 0;

  for (; base < work.end; base += WARPS * 16) {
    if (work.newest && base + 16 >= work.end) {  // the new token is not in the cache yet
      for (int n = 0; n < 2; ++n)
        for (int i = 0; i < QUADS; ++i)
          if (base + g + 8 * n >= work.end - 1) tokens.k[n][i] = *(const uint4*)(s.fresh[0] + 32 * i + 8 * t);
      for (int n = 0; n < 4; ++n)
        for (int i = 0; i < HALVES; ++i)
          if (base + 2 * t + n % 2 + n / 2 * 8 >= work.end - 1)
            tokens.v[n][i] = *(const uint4*)(s.fresh[1] + 64 * i + 8 * g);
    }
    float score[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};  // of head g and tokens 2t, 2t + 1 (+ 8)
#pragma unroll
    for (int i = 0; i < QUADS; ++i) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        mma16(score[n], q[i][0], q[i][1], tokens.k[n][i].x, tokens.k[n][i].y);
        mma16(score[n], q[i][2], q[i][3], tokens.k[n][i].z, tokens.k[n][i].w);
      }
    }
    float most = top;
    for (int n = 0; n < 2; ++n) {
      for (int c = 0; c < 2; ++c) {
        const bool there = base + 8 * n + 2 * t + c < work.end;
        score[n][c] = there ? capped(p, score[n][c] * p.scale) : NOTHING;
        most = fmaxf(most, score[n][c]);
      }
    }
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
    const float shrink = exp2f(top - most);
    top = most;
    total *= shrink;
    u32 weights[2];
    for (int n = 0; n < 2; ++n) {
      const float a = exp2f(score[n][0] - most), b = exp2f(score[n][1] - most);
      weights[n] = pack(a, b);
      total += a + b;
    }
#pragma unroll
    for (int i = 0; i < HALVES; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        y[i][j][0] *= shrink;
        y[i][j][1] *= shrink;
        const u32 select = j % 2 ? 0x7632 : 0x5410;
        const auto word = [&](int n) {
          const uint4& v = tokens.v[n][i];
          return j / 2 == 0 ? v.x : j / 2 == 1 ? v.y : j / 2 == 2 ? v.z : v.w;
        };
        mma16(y[i][j], weights[0], weights[1], __byte_perm(word(0), word(1), select),
              __byte_perm(word(2), word(3), select));
      }
    }
    if (base + WARPS * 16 < work.end) load(p, work, base + WARPS * 16, tokens);
  }

  total += __shfl_xor_sync(0xffffffffu, total, 1);
  total += __shfl_xor_sync(0xffffffffu, total, 2);
  if (g >= HEADS) return;
  if (t == 0) s.tops[warp][g] = top, s.totals[warp][g] = total;
  for (int i = 0; i < HALVES; ++i) {
    for (int j = 0; j < 8; ++j) {  // columns 2t and 2t + 1 of product j
      s.sums[warp][g][64 * i + 16 * t + j] = y[i][j][0];
      s.sums[warp][g][64 * i + 16 * t + 8 + j] = y[i][j][1];
    }
  }
}
#else
// HEAD_DIM / 16 lanes share a token.
#define LANES (HEAD_DIM / 16)
#define SLOTS (32 / LANES)  // tokens side by side in a warp
#define BATCH 2  // tokens of a slot between two updates of the largest score

DEVICE void attend(const DecodeAttentionParams& p, const Work& work, Shared& s) {
  prepare(p, work, s);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int part = lane % LANES, slot = warp * SLOTS + lane / LANES;
  float q[HEADS][16], y[HEADS][16], top[HEADS], total[HEADS];
#pragma unroll
  for (int h = 0; h < HEADS; ++h) {
    top[h] = NOTHING, total[h] = 0;
    for (int i = 0; i < 8; ++i) {
      q[h][i] = h < work.heads ? s.vectors[h][part * 8 + i] * p.scale : 0;
      q[h][8 + i] = h < work.heads ? s.vectors[h][HEAD_DIM / 2 + part * 8 + i] * p.scale : 0;
      y[h][i] = y[h][8 + i] = 0;
    }
  }
  for (int base = work.begin; base < work.end; base += WARPS * SLOTS * BATCH) {
    float k[BATCH][16], v[BATCH][16], score[BATCH][HEADS];
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
      const long long from =
          place_of(p, work, min(base + b * WARPS * SLOTS + slot, work.end - 1)) + part * 8;
      load8<TYPE>(work.keys, from, k[b]);
      load8<TYPE>(work.keys, from + HEAD_DIM / 2, k[b] + 8);
      load8<TYPE>(work.values, from, v[b]);
      load8<TYPE>(work.values, from + HEAD_DIM / 2, v[b] + 8);
    }
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
      const bool there = base + b * WARPS * SLOTS + slot < work.end;
      for (int h = 0; h < HEADS; ++h) {
        float sum = 0;
        for (int i = 0; i < 16; ++i) sum += q[h][i] * k[b][i];
        for (int step = 1; step < LANES; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        score[b][h] = there ? capped(p, sum) : NOTHING;
      }
    }
    for (int h = 0; h < HEADS; ++h) {
      float most = top[h];
      for (int b = 0; b < BATCH; ++b) most = fmaxf(most, score[b][h]);
      const float shrink = exp2f(top[h] - most);
      top[h] = most;
      total[h] *= shrink;
      for (int i = 0; i < 16; ++i) y[h][i] *= shrink;
      for (int b = 0; b < BATCH; ++b) {
        const float weight = score[b][h] == NOTHING ? 0 : exp2f(score[b][h] - most);
        total[h] += weight;
        for (int i = 0; i < 16; ++i) y[h][i] += weight * v[b][i];
      }
    }
  }
#pragma unroll
  for (int h = 0; h < HEADS; ++h) {
    float most = top[h];
    for (int step = LANES; step < 32; step *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    const float shrink = exp2f(top[h] - most);
    total[h] *= shrink;
    for (int step = LANES; step < 32; step *= 2) total[h] += __shfl_xor_sync(0xffffffffu, total[h], step);
    for (int i = 0; i < 16; ++i) {
      y[h][i] *= shrink;
      for (int step = LANES; step < 32; step *= 2) y[h][i] += __shfl_xor_sync(0xffffffffu, y[h][i], step);
      if (lane < LANES) s.sums[warp][h][(i < 8 ? 0 : HEAD_DIM / 2) + part * 8 + i % 8] = y[h][i];
    }
    if (lane == 0) s.tops[warp][h] = most, s.totals[warp][h] = total[h];
  }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS) decode_attention(const __grid_constant__ DecodeAttentionParams p) {
  let_next_begin();
  __shared__ __align__(16) Shared s;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group = p.heads / p.kv_heads, blocks = (group + HEADS - 1) / HEADS;  // of one key head
  const int split = blockIdx.x, splits = gridDim.x;
  const Row& row = p.rows[blockIdx.z];
  Work work;
  work.kv_head = blockIdx.y / blocks;
  work.first_head = work.kv_head * group + blockIdx.y % blocks * HEADS;
  work.heads = min(HEADS, (work.kv_head + 1) * group - work.first_head);
  work.position = row.tokens - 1;
  // Positions of [0, keep) and of the newest window - keep are seen.
  work.gap = p.window > 0 && row.tokens > p.window ? row.tokens - p.window : 0;
  work.kept = work.gap > 0 ? p.keep : 0;
  const int seen = row.tokens - work.gap, each = ((seen + splits - 1) / splits + 15) / 16 * 16;
  work.begin = min(split * each, seen);
  work.end = min(work.begin + each, seen);
  work.newest = work.begin < work.end && work.end == seen;
  work.keys = row.keys + work.kv_head * row.head_step;
  work.values = row.values + work.kv_head * row.head_step;
#if __CUDA_ARCH__ >= 900  // the cache is brought into L2 while the launch before ends
  if (threadIdx.x < 2 && p.ring == 0 && work.gap == 0 && work.begin < work.end) {
    const T* const from = (threadIdx.x == 0 ? work.keys : work.values) + (long long)work.begin * HEAD_DIM;
    const u32 bytes = (work.end - work.begin) * HEAD_DIM * (u32)sizeof(T);
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
  }
#endif
  wait_for_earlier();
  attend(p, work, s);
  __syncthreads();

  const long long place = (long long)blockIdx.z * gridDim.y + blockIdx.y;
  const int part_floats = HEADS * (HEAD_DIM + 4);
  float* const parts = p.parts + place * splits * part_floats;
  T* const out = p.out + ((long long)blockIdx.z * p.heads + work.first_head) * HEAD_DIM;
  for (int item = threadIdx.x; item < work.heads * HEAD_DIM; item += THREADS) {
    const int h = item / HEAD_DIM, d = item % HEAD_DIM;
    float most = s.tops[0][h], sum = 0, total = 0;
    for (int w = 1; w < WARPS; ++w) most = fmaxf(most, s.tops[w][h]);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = exp2f(s.tops[w][h] - most);
      sum += s.sums[w][h][d] * shrink;
      total += s.totals[w][h] * shrink;
    }
    if (splits == 1) {
      if (p.sinks) {
        const float sink = p.sinks[work.first_head + h] * LOG2E, all = fmaxf(most, sink);
        sum *= exp2f(most - all);
        total = total * exp2f(most - all) + exp2f(sink - all);
      }
      out[item] = from_float<TYPE>(sum / total);
      continue;
    }
    float* const to = parts + split * part_floats + h * (HEAD_DIM + 4);
    to[d] = sum;
    if (d == 0) *(float2*)(to + HEAD_DIM) = float2{most, total};
  }
  if (splits == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    s.is_last = atomicAdd(p.arrived + place, 1) == splits - 1;
    if (s.is_last) p.arrived[place] = 0;
  }
  __syncthreads();
  if (!s.is_last) return;
  __threadfence();
  for (int h = warp; h < work.heads; h += WARPS) {  // the factor of each part's sums; 64 splits at most
    float2 stats[2];
    const float sink = p.sinks ? p.sinks[work.first_head + h] * LOG2E : NOTHING;
    float most = sink, total = 0;
    for (int i = 0; i < 2; ++i) {
      const int from = lane + 32 * i;
      stats[i] = float2{NOTHING, 0};
      if (from < splits) stats[i] = __ldcg((const float2*)(parts + from * part_floats + h * (HEAD_DIM + 4) + HEAD_DIM));
      most = fmaxf(most, stats[i].x);
    }
    for (int step = 16; step > 0; step >>= 1) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    for (int i = 0; i < 2; ++i) total += stats[i].y * exp2f(stats[i].x - most);
    total = warp_sum(total) + (p.sinks ? exp2f(sink - most) : 0);
    for (int i = 0; i < 2; ++i) s.factors[h][lane + 32 * i] = exp2f(stats[i].x - most) / total;
  }
  __syncthreads();
  for (int item = threadIdx.x; item < work.heads * HEAD_DIM / 4; item += THREADS) {
    const int h = item / (HEAD_DIM / 4), d = item % (HEAD_DIM / 4) * 4;
    const float* const from = parts + h * (HEAD_DIM + 4) + d;
    float4 sum{0, 0, 0, 0};
#pragma unroll 8
    for (int i = 0; i < splits; ++i) {
      const float4 x = __ldcg((const float4*)(from + i * part_floats));
      const float factor = s.factors[h][i];
      sum.x += x.x * factor, sum.y += x.y * factor, sum.z += x.z * factor, sum.w += x.w * factor;
    }
    T* const to = out + h * HEAD_DIM + d;
    to[0] = from_float<TYPE>(sum.x), to[1] = from_float<TYPE>(sum.y);
    to[2] = from_float<TYPE>(sum.z), to[3] = from_float<TYPE>(sum.w);
  }
}
