// Products of packed matrices with a few vectors (four columns of operands at most), for decoding one or two rows:
// every weight is read once, and the operations before and after the product are fused.
//
// Defines besides packed.cuh's: TYPE of activations, OUT_TYPE, NORM_TYPE of the norm's weight, ROWS (activations), and
// WARPS (of a block), EVEN (every warp has whole rounds of UNROLL steps, none with two experts). Optional: EXPERTS with
// SLOT_STEPS, ROUTE, and DIGITS.
//
// EXPERTS: the matrices are stacks, of which each token has chosen `slots` experts. 1: gate and up of each of them, the
// slots of token blockIdx.y one after the other. 2: down, of the slots' activations, which are adjacent and make up the
// columns of one product (SLOT_STEPS steps each); the slots' weights are multiplied into the scales. 3: group blockIdx.y
// of route.cu, up to ROWS pairs of one expert.
//
// ROUTE: the product is a router's, and the block that ends last chooses each row's experts.
//
// The warps of a block share sixteen rows of weights and each processes a part of the columns. All activations are in
// shared memory in bf16; float16 and float32 as a sum of two and three bf16 numbers, each a column of its own, so that
// nothing is lost. The integers of weights are multiplied exactly; scale and bias are applied after each step.
//
// DIGITS (one row; affine weights, groups of 64 or more, EVEN): half the instructions. Activations are fixed-point numbers
// of three signed bytes with a scale for each step, 22 bits of its largest number, and the products are of bytes. The
// three digits are columns of one product, and two steps share it. e2m1 weights (MX, bf16 activations) are bytes from 0
// to 24 in GROUP 64, which has two scales: a thread's 16 bytes are the 32 weights of one scale. Activations have 14 bits of
// the largest with that scale, in two digits, and the digits of four scales are columns of one product.
//
// Loads of less than 16 bytes a thread would need more bandwidth than the L2 cache has. A thread's 16 bytes are two
// steps' weights of four bits (PAIRED): the first two threads of a row have the first step, the others the second. In
// the product each step has its own column, which is zero for the other's threads.
#ifndef EXPERTS
#define EXPERTS 0
#define SLOT_STEPS 1
#endif
#ifndef ROUTE
#define ROUTE 0
#endif
#define PARTS (TYPE == BF16 ? 1 : TYPE == F16 ? 2 : 3)
#define COLUMNS (ROWS * PARTS)
#define THREADS (WARPS * 32)
#define UNROLL (BITS == 4 ? 4 : BITS == 8 ? 2 : 1)
#define PAIRED (EVEN && BITS == 4 && GROUP >= 64)
#define BATCH (COLUMNS > 2 ? 1 : 2)
#ifndef DIGITS
#define DIGITS 0
#endif
#define PLANES (MX ? 2 : 3)              // digits of a number
#define DIGIT_GROUP (MX ? 32 : STEP)     // columns that share the scale of their digits
#define SCALE_BYTES (MX ? GROUP / 32 : SCALE_TYPE == F32 ? 4 : 2)
#define WIDE_SCALES (EVEN && BITS == 4 && GROUP == 64 && SCALE_TYPE != F32)  // of a round, loaded at once

struct Matrix {
  const void* weight;
  const void* scales;
  const void* biases;
  const float* bias;  // [rows], or null
  void* y;            // [ROWS, rows]
  int rows;
  int first_tile;
};

struct QmvParams {
  Matrix matrices[4];
  int count;       // of matrices
  int gated;       // the first two: y = act(first) * second; a tile is eight rows of each
  int activation;  // as in CpuKernels::gated
  int tiles;
  int columns;
  float eps, multiplier;
  const void* x;         // [ROWS, columns]
  const void* norm;      // [columns], or null
  const void* residual;  // [ROWS, rows]: y = residual + multiplier * product; or null
  const int* ids;        // EXPERTS 1 and 2: [gridDim.y, slots], and x, residual and y [gridDim.y, …]
  const float* weights;  // EXPERTS 2: [gridDim.y, slots]
  int slots;             // EXPERTS 3: pairs that share a row of x
  const int* groups;     // EXPERTS 3: as in route.cu
  const int* order;      // EXPERTS 3: pairs; y is [pairs, rows]
  int* arrived;          // ROUTE: zero before and after
#if ROUTE
  RouteParams route;
#endif
};

// Eight e2m1 weights, doubled and plus 12, in two words.
DEVICE void doubled_plus_12(u32 word, u32* bytes) {
  // With bit 3 of a selector the permutation repeats the byte's sign, which is 0 in both tables (__byte_perm ignores it).
  for (int i = 0; i < 2; ++i) {
    const u32 w = word >> (16 * i), other = (word ^ 0x88888888u) >> (16 * i);
    u32 positive, negative;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(positive) : "r"(0x0f0e0d0cu), "r"(0x18141210u), "r"(w));
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(negative) : "r"(0x090a0b0cu), "r"(0x00040608u), "r"(other));
    bytes[i] = positive | negative;
  }
}

struct Stage {
  u32 words[2][UNROLL][LANE_WORDS];  // PAIRED: of a pair of steps, four words after the first one's
  u32 scales[2][UNROLL], biases[2][UNROLL];  // with WIDE_SCALES two in each of the first two words
};

// Eight elements in memory order.
struct Vector {
  uint4 words[2];
  template <int T>
  DEVICE void load(const void* data, long long at) {
    const uint4* const from = (const uint4*)((const typename Element<T>::type*)data + at);
    words[0] = from[0];
    if (T == F32) words[1] = from[1];
  }
  template <int T>
  DEVICE void get(float* x) const {
    const u32 all[8] = {words[0].x, words[0].y, words[0].z, words[0].w, words[1].x, words[1].y, words[1].z, words[1].w};
    for (int i = 0; i < 8; ++i) {
      x[i] = T == F32 ? __uint_as_float(all[i]) : to_float<T == F32 ? BF16 : T>((u16)(all[i / 2] >> (i % 2 * 16)));
    }
  }
};

DEVICE void load_words(const void* p, u32* words) {
  if (LANE_WORDS == 1) {
    words[0] = stream32(p);
  } else if (LANE_WORDS == 2) {
    const uint2 w = stream64(p);
    words[0] = w.x, words[LANE_WORDS - 1] = w.y;
  } else {
    for (int i = 0; i < LANE_WORDS / 4; ++i) {
      const uint4 w = stream128((const u8*)p + 16 * i);
      words[4 * i] = w.x, words[(4 * i + 1) % LANE_WORDS] = w.y;
      words[(4 * i + 2) % LANE_WORDS] = w.z, words[(4 * i + 3) % LANE_WORDS] = w.w;
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 16 / WARPS) qmv(const __grid_constant__ QmvParams p) {
  let_next_begin();
  if (EXPERTS) wait_for_earlier();  // the chosen experts decide which weights are read
  extern __shared__ __align__(16) u8 shared[];
  __shared__ float partial[2][WARPS][16][8];
  __shared__ float squares[WARPS][ROWS];
  __shared__ __align__(16) u8 zeros[UNROLL * STEP * 2];  // the operands of threads without any
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int steps = p.columns / STEP;
  const int stride = p.columns * (DIGITS ? 1 : 2) + 16;  // a column's bytes; the pad spreads the banks
  // For the activations of a step, [steps, COLUMNS]: their sum, and the correction that removes ZERO from their
  // products. DIGITS: the sum, and the scale of the digits.
  float2* const sums = (float2*)(shared + (DIGITS ? PLANES : COLUMNS) * stride);
  const int each = (steps + WARPS - 1) / WARPS, begin = warp * each, end = min(begin + each, steps);
  const int rounds = (each + UNROLL - 1) / UNROLL, tile_rows = p.gated ? 8 : 16;
  // The size of a matrix.
  const int matrix_columns = EXPERTS == 2 ? SLOT_STEPS * STEP : p.columns;
  const long long row_bytes = (long long)matrix_columns * BITS / 8, groups = matrix_columns / GROUP;
  // The token's experts, or the group's.
  if (EXPERTS == 3 && blockIdx.y >= p.groups[0]) return;
  const int* const group = p.groups + 1 + 3 * blockIdx.y;
  const int* const ids = EXPERTS == 3 ? group : p.ids + blockIdx.y * p.slots;
  const int* const pairs = p.order + (EXPERTS == 3 ? group[1] : 0);
  const int count = EXPERTS == 3 ? group[2] : ROWS;
  const int slot_tiles = EXPERTS == 1 ? p.tiles / p.slots : p.tiles;
  const auto x_row = [&](int m) -> long long {
    return EXPERTS == 3 ? pairs[min(m, count - 1)] / p.slots : EXPERTS ? blockIdx.y : m;
  };

  const auto matrix_of = [&](int tile, int half) -> const Matrix& {
    if (p.gated) return p.matrices[half];
    int m = 0;
    while (m + 1 < p.count && tile >= p.matrices[m + 1].first_tile) ++m;
    return p.matrices[m];
  };
  // The addresses of this thread's rows in the tile that is loaded.
  const u8 *weights_at[2], *scales_at[2], *biases_at[2];
  const auto aim = [&](int tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Matrix& m = matrix_of(tile, half);
      const int local = EXPERTS == 1 ? tile % slot_tiles : tile - m.first_tile;
      long long row = min(local * tile_rows + (p.gated ? 0 : half * 8) + g, m.rows - 1);
      if (EXPERTS == 1 || EXPERTS == 3) row += (long long)ids[tile / slot_tiles] * m.rows;
      weights_at[half] = (const u8*)m.weight + row * row_bytes + t * LANE_WORDS * 4 * (PAIRED ? 2 : 1);
      scales_at[half] = (const u8*)m.scales + row * groups * SCALE_BYTES;
      biases_at[half] = m.biases ? (const u8*)m.biases + row * groups * SCALE_BYTES : nullptr;
    }
  };
  // The expert whose matrix has a step of the product (0 if the tile decides), and the matrix's own step.
  const auto expert_of = [&](int step) { return EXPERTS == 2 ? (long long)ids[step / SLOT_STEPS] : 0LL; };
  const auto step_of = [&](int step) { return EXPERTS == 2 ? step % SLOT_STEPS : step; };
  const auto load = [&](Stage& stage, int round) {
    const int first = begin + round * UNROLL;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int u = 0; u < UNROLL; ++u) {
        if (!EVEN && first + u >= end) break;
        const long long expert_rows = expert_of(first + u) * p.matrices[0].rows;
        const int step = step_of(first + u);
        const u8* const at = weights_at[half] + expert_rows * row_bytes + step * (STEP * BITS / 8);
        if (!PAIRED) {
          load_words(at, stage.words[half][u]);
        } else if (u % 2 == 0) {
          const uint4 w = stream128(at);
          stage.words[half][u][0] = w.x, stage.words[half][u][LANE_WORDS - 1] = w.y;
          stage.words[half][(u + 1) % UNROLL][0] = w.z, stage.words[half][(u + 1) % UNROLL][LANE_WORDS - 1] = w.w;
        }
        if (WIDE_SCALES) continue;
        stage.scales[half][u] = raw_scale(scales_at[half], expert_rows * groups + step / (GROUP / STEP));
        stage.biases[half][u] = raw_scale(biases_at[half], expert_rows * groups + step / (GROUP / STEP));
      }
      if (WIDE_SCALES) {
        const long long at = (expert_of(first) * p.matrices[0].rows * groups + step_of(first)) * 2;
        const uint2 s = stream64(scales_at[half] + at);
        stage.scales[half][0] = s.x, stage.scales[half][1] = s.y;
        if (MX) continue;
        const uint2 b = stream64(biases_at[half] + at);
        stage.biases[half][0] = b.x, stage.biases[half][1] = b.y;
      }
    }
  };

  // The block's work in turn: rounds of a tile, of which the last one ends with its sums.
  struct Place {
    int tile, round;
  };
  const auto after = [&](Place at) {
    if (++at.round == rounds) at.round = 0, at.tile += gridDim.x;
    return at;
  };
  Place at{(int)blockIdx.x, 0}, ahead = after(at);
  if (at.tile >= p.tiles) return;
  Stage even, odd;
  aim(at.tile);
  load(even, at.round);
  if (ahead.tile != at.tile && ahead.tile < p.tiles) aim(ahead.tile);
  if (ahead.tile < p.tiles) load(odd, ahead.round);

  if ((PAIRED || DIGITS) && threadIdx.x < sizeof(zeros) / 16) ((uint4*)zeros)[threadIdx.x] = uint4{0, 0, 0, 0};
  if (!EXPERTS) wait_for_earlier();

  // The activations, normalised while the first weights are loading: each thread processes BATCH vectors of eight at a
  // time, so that it waits only once for their loads.
  Vector held[ROWS][BATCH], factors[BATCH];
  const auto fetch = [&](int base) {
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
      const int c = base + b * THREADS + (int)threadIdx.x;
      if (c >= p.columns / 8) continue;
      for (int m = 0; m < ROWS; ++m) held[m][b].load<TYPE>(p.x, x_row(m) * p.columns + c * 8);
      if (p.norm) factors[b].load<NORM_TYPE>(p.norm, c * 8);
    }
  };
  fetch(0);
  const bool all_held = p.columns / 8 <= BATCH * THREADS;
  float scale_of_row[ROWS];
  for (int m = 0; m < ROWS; ++m) scale_of_row[m] = 1;
  if (p.norm) {
    float sum[ROWS];
    for (int m = 0; m < ROWS; ++m) sum[m] = 0;
    for (int base = 0; base < p.columns / 8; base += BATCH * THREADS) {
      if (base > 0) fetch(base);
#pragma unroll
      for (int b = 0; b < BATCH; ++b) {
        if (base + b * THREADS + (int)threadIdx.x >= p.columns / 8) continue;
        for (int m = 0; m < ROWS; ++m) {
          float x[8];
          held[m][b].get<TYPE>(x);
          for (int i = 0; i < 8; ++i) sum[m] += x[i] * x[i];
        }
      }
    }
    for (int m = 0; m < ROWS; ++m) {
      sum[m] = warp_sum(sum[m]);
      if (lane == 0) squares[warp][m] = sum[m];
    }
    __syncthreads();
    for (int m = 0; m < ROWS; ++m) {
      float all = 0;
      for (int w = 0; w < WARPS; ++w) all += squares[w][m];
      scale_of_row[m] = rsqrtf(all / p.columns + p.eps);
    }
    if (!all_held) fetch(0);
  }
  for (int base = 0; base < p.columns / 8; base += BATCH * THREADS) {
    if (base > 0) fetch(base);
#pragma unroll
    for (int b = 0; b < BATCH; ++b) {
      if (base + b * THREADS >= p.columns / 8) break;
      const int c = base + b * THREADS + (int)threadIdx.x;
      const bool inside = c < p.columns / 8;
      float factor[8];
      if (p.norm && inside) factors[b].get<NORM_TYPE>(factor);
      for (int m = 0; m < ROWS; ++m) {
        float x[8];
        if (inside) held[m][b].get<TYPE>(x);
        for (int i = 0; i < 8; ++i) {
          if (!inside) x[i] = 0;
          if (p.norm && inside) x[i] = to_float<TYPE>(from_float<TYPE>(x[i] * scale_of_row[m] * factor[i]));
        }
#if DIGITS
        float sum = 0;
        u32 largest = 0;
        for (int i = 0; i < 8; ++i) {
          sum += x[i];
          largest = max(largest, __float_as_uint(x[i]) & 0x7fffffffu);
        }
        for (int step = 1; step < DIGIT_GROUP / 8; step *= 2) {
          sum += __shfl_xor_sync(0xffffffffu, sum, step);
          largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, step));
        }
        // 22 or 14 bits for the largest, by the same trick; the scale is NaN if it is not finite.
        constexpr u32 kLast = MX ? 13 : 21, kHalves = MX ? 0x8080u : 0x808080u;
        const u32 exponent = max(largest >> 23, 40u);
        const float inverse = __uint_as_float((254 + kLast - exponent) << 23);
        const float scale = exponent == 255 ? __uint_as_float(0x7fc00000u) : __uint_as_float((exponent - kLast) << 23);
        u32 digits[8];
        int fixed_sum = 0;
        for (int i = 0; i < 8; ++i) {
          const u32 fixed = __float_as_uint(fmaf(x[i], inverse, 12582912.0f)) - 0x4b400000u;
          digits[i] = (fixed + kHalves) ^ kHalves;
          fixed_sum += (int)fixed;
        }
        if (MX) {  // weights are 12 too large: the sum that removes this is of the rounded numbers
          for (int step = 1; step < DIGIT_GROUP / 8; step *= 2) fixed_sum += __shfl_xor_sync(0xffffffffu, fixed_sum, step);
          sum = fixed_sum * scale;
        }
        if (inside) {
          u32 words[3][2];
          for (int w = 0; w < 2; ++w) {  // 4 bits: the even elements, then the odd ones, as unpacked weights
            const u32* const d = digits + (BITS == 4 && !MX ? w : 4 * w);
            const int next = BITS == 4 && !MX ? 2 : 1;
            const u32 one = __byte_perm(d[0], d[next], 0x5140), two = __byte_perm(d[2 * next], d[3 * next], 0x5140);
            words[2][w] = __byte_perm(one, two, 0x5410);
            words[1][w] = __byte_perm(one, two, 0x7632);
            const u32 first = __byte_perm(d[0], d[next], 0x0062), last = __byte_perm(d[2 * next], d[3 * next], 0x0062);
            words[0][w] = __byte_perm(first, last, 0x5410);
          }
          for (int d = 0; d < PLANES; ++d)
            *(uint2*)(shared + d * stride + c * 8) = uint2{words[3 - PLANES + d][0], words[3 - PLANES + d][1]};
          if (c % (DIGIT_GROUP / 8) == 0) sums[c / (DIGIT_GROUP / 8)] = float2{sum, scale};
        }
#else
        for (int part = 0; part < PARTS; ++part) {
          uint4 packed{pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])};
          const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};
          float sum = 0;
          for (int i = 0; i < 4; ++i) {
            const float low = low_bf16(words[i]), high = high_bf16(words[i]);
            sum += low + high;
            x[2 * i] -= low;
            x[2 * i + 1] -= high;
          }
          for (int step = 1; step < STEP / 8; step *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
          const int column = m * PARTS + part;
          if (inside) {
            u32 pairs[4];
            in_weight_order(packed, pairs);
            *(uint4*)(shared + column * stride + c * 16) = uint4{pairs[0], pairs[1], pairs[2], pairs[3]};
            if (c % (STEP / 8) == 0) sums[c / (STEP / 8) * COLUMNS + column] = float2{sum, -ZERO * sum};
          }
        }
#endif
      }
    }
  }
  __syncthreads();

  float y[4] = {0, 0, 0, 0};
  int buffer = 0;
#if DIGITS
  // Digit d of the first of two steps is column d of their product, of the second column 4 + d. MX: digit d of the
  // numbers that meet thread t's weights is column 2t + d.
  float by_bias[2] = {0, 0};
  const u8* const plane = shared + (MX ? g % 2 : min(g % 4, 2)) * stride + t * LANE_WEIGHTS * (PAIRED ? 2 : 1);
  const bool is_digit = MX || g % 4 < 3;
  const auto multiply = [&](const Stage& stage) {
    const int first = begin + at.round * UNROLL;
    const auto number_at = [&](const u32* raw, int u) {
      return WIDE_SCALES ? scale_number(raw[u / 2] >> (u % 2 * 16)) : scale_number(raw[u]);
    };
#pragma unroll
    for (int u = 0; u < UNROLL; u += 2) {
      // Sums begin with the bits of the float 12582912: up to 2^22 more or less, they are those of 12582912 + sum.
      int c[4] = {0x4b400000, 0x4b400000, 0x4b400000, 0x4b400000};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        // 4 bits: half of both steps' weights; 8 bits: one step's.
        const bool has_own = MX ? g / 2 == t : is_digit && g / 4 == (BITS == 4 ? t / 2 : i);
        const u8* const from = plane + (first + u) * STEP + (BITS == 4 ? 16 : STEP) * i;
        const uint4 x = *(const uint4*)(has_own ? from : zeros);
        const u32 b[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          u32 a[4];
          for (int half = 0; half < 2; ++half) {
            if (MX) {
              u32 bytes[2];
              doubled_plus_12(stage.words[half][u + i][j], bytes);
              a[half] = bytes[0], a[2 + half] = bytes[1];
            } else if (BITS == 4) {
              const u32 w = stage.words[half][u + i][j];
              a[half] = w & 0x0f0f0f0fu, a[2 + half] = w >> 4 & 0x0f0f0f0fu;
            } else {
              a[half] = stage.words[half][u + i][2 * j % LANE_WORDS];
              a[2 + half] = stage.words[half][u + i][(2 * j + 1) % LANE_WORDS];
            }
          }
          mma_bytes(c, a, b[2 * j], b[2 * j + 1]);
        }
      }
      const float2 of_step = sums[MX ? 2 * (first + u) + t : first + u + t / 2];
      const float weight = EXPERTS == 2 ? p.weights[blockIdx.y * p.slots + (first + u) / SLOT_STEPS] : 1;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float own, bias;
        if (MX) {
          own = 0.5f * scale_of(stage.scales[half][u / 2] >> (8 * t) & 255, 0).scale;
          bias = -12 * own;
        } else {
          own = t < 2 ? number_at(stage.scales[half], u) : number_at(stage.scales[half], u + 1);
          bias = t < 2 ? number_at(stage.biases[half], u) : number_at(stage.biases[half], u + 1);
        }
        const float scale = own * (EXPERTS == 2 ? weight * of_step.y : of_step.y);
        y[2 * half] += scale * (__int_as_float(c[2 * half]) - 12582912.0f);
        y[2 * half + 1] += scale * (__int_as_float(c[2 * half + 1]) - 12582912.0f);
        by_bias[half] += bias * (EXPERTS == 2 ? weight * of_step.x : of_step.x);
      }
    }
  };
#else
  // The addresses of this thread's operands, and of the sums for columns of products 2t and 2t + 1.
  const bool has_own = !PAIRED || (g / 2 < COLUMNS && g % 2 == t / 2);
  const u8* const own = shared + (PAIRED ? min(g / 2, COLUMNS - 1) : min(g, COLUMNS - 1)) * stride +
                        t * LANE_WEIGHTS * 2 * (PAIRED ? 2 : 1);
  const int left = min(PAIRED ? t : 2 * t, COLUMNS - 1), right = PAIRED ? left + COLUMNS : min(2 * t + 1, COLUMNS - 1);
  const auto multiply = [&](const Stage& stage) {
    const int first = begin + at.round * UNROLL;
    const u8* const operands = has_own ? own + first * STEP * 2 : zeros;
    const float2* const step_sums = sums + first * COLUMNS;
    const auto number_at = [&](const u32* raw, int u) {
      return WIDE_SCALES ? scale_number(raw[u / 2] >> (u % 2 * 16)) : scale_number(raw[u]);
    };
#pragma unroll
    for (int u = 0; u < UNROLL; u += PAIRED ? 2 : 1) {
      if (!EVEN && first + u >= end) break;
      const float2 a = step_sums[u * COLUMNS + left], b = step_sums[u * COLUMNS + right];
      float c[4] = {a.y, b.y, a.y, b.y}, d[4] = {0, 0, 0, 0};  // two chains
#pragma unroll
      for (int half_pair = 0; half_pair < (PAIRED ? 2 : 1); ++half_pair) {
        u32 top[PAIRS], bottom[PAIRS];
        unpack(stage.words[0][(u + half_pair) % UNROLL], top);
        unpack(stage.words[1][(u + half_pair) % UNROLL], bottom);
#pragma unroll
        for (int i = 0; i < LANE_WEIGHTS / 8; ++i) {
          const uint4 x = *(const uint4*)(operands + u * STEP * 2 + (half_pair * (LANE_WEIGHTS / 8) + i) * 16);
          mma(c, top[4 * i], bottom[4 * i], top[4 * i + 1], bottom[4 * i + 1], x.x, x.y);
          mma(d, top[4 * i + 2], bottom[4 * i + 2], top[4 * i + 3], bottom[4 * i + 3], x.z, x.w);
        }
      }
      // If PAIRED, the second column belongs to the second step.
      const int v = PAIRED ? (u + 1) % UNROLL : u;
      for (int half = 0; half < 2; ++half) {
        float scale = 1, second = 1;
        if (BITS != 16) {
          scale = MX ? scale_of(stage.scales[half][u], 0).scale : number_at(stage.scales[half], u);
          second = !PAIRED ? scale : number_at(stage.scales[half], v);
        }
        const float weight = EXPERTS == 2 ? p.weights[blockIdx.y * p.slots + (first + u) / SLOT_STEPS] : 1;
        scale *= weight, second *= weight;
        const float one = scale * (c[2 * half] + d[2 * half]), two = second * (c[2 * half + 1] + d[2 * half + 1]);
        y[2 * half] += one;
        y[PAIRED ? 2 * half : 2 * half + 1] += two;
        if (BITS == 16 || MX) continue;
        const float bias = weight * number_at(stage.biases[half], u);
        y[2 * half] += bias * a.x;
        y[PAIRED ? 2 * half : 2 * half + 1] += (PAIRED ? weight * number_at(stage.biases[half], v) : bias) * b.x;
      }
    }
  };
#endif
  const auto finish = [&](const Place& next) {
    if (next.tile == at.tile) return;
    for (int half = 0; half < 2; ++half) {
      float* const to = partial[buffer][warp][g + 8 * half];
#if DIGITS
      if (MX)
        to[t] = y[2 * half] * 256.0f + (y[2 * half + 1] + by_bias[half]);
      else
        to[t] = t % 2 == 0 ? y[2 * half] * 65536.0f + (y[2 * half + 1] * 256.0f + by_bias[half]) : y[2 * half];
      by_bias[half] = 0;
      continue;
#endif
      if (PAIRED) {
        to[t] = y[2 * half];
      } else {
        *(float2*)(to + 2 * t) = float2{y[2 * half], y[2 * half + 1]};
      }
    }
    y[0] = y[1] = y[2] = y[3] = 0;
    __syncthreads();  // the other buffer is free once all threads are here again
    const Matrix& m = matrix_of(at.tile, 0);
    for (int item = threadIdx.x; item < tile_rows * ROWS; item += THREADS) {
      const int local = EXPERTS == 1 ? at.tile % slot_tiles : at.tile - m.first_tile;
      const int r = item % tile_rows, n = item / tile_rows, row = local * tile_rows + r;
      if (row >= m.rows || n >= count) continue;
      const int slot = EXPERTS == 1 ? at.tile / slot_tiles : 0;
      const long long y_row = EXPERTS == 1   ? blockIdx.y * p.slots + slot
                              : EXPERTS == 2 ? blockIdx.y
                              : EXPERTS == 3 ? pairs[n]
                                             : n;
      const long long place = y_row * m.rows + row;
      float value = 0;
      if (p.residual) value = to_float<OUT_TYPE>(((const Element<OUT_TYPE>::type*)p.residual)[place]);
      float sum[2] = {0, 0};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (i == 1 && !p.gated) break;
        for (int w = 0; w < WARPS; ++w) {
          for (int part = 0; part < (DIGITS ? 4 : PARTS); ++part)
            sum[i] += partial[buffer][w][r + 8 * i][n * PARTS + part];
        }
        const float* bias = p.gated ? p.matrices[i].bias : m.bias;
        if (bias && EXPERTS != 2) sum[i] += bias[(EXPERTS ? (long long)ids[slot] * m.rows : 0) + row];
        if (bias && EXPERTS == 2) {
          for (int j = 0; j < p.slots; ++j)
            sum[i] += p.weights[blockIdx.y * p.slots + j] * bias[(long long)ids[j] * m.rows + row];
        }
      }
      const float gate = p.gated ? activate(p.activation, sum[0]) * sum[1] : sum[0];
      value = p.residual ? value + p.multiplier * gate : gate;
      ((Element<OUT_TYPE>::type*)m.y)[place] = from_float<OUT_TYPE>(value);
    }
    buffer ^= 1;
  };
  // Multiplies a round and loads the one after the next in its place; false after the last.
  const auto turn = [&](Stage& stage) {
    multiply(stage);
    const Place next = after(at);
    ahead = after(next);
    if (ahead.tile < p.tiles) {
      if (ahead.round == 0) aim(ahead.tile);
      load(stage, ahead.round);
    }
    finish(next);
    at = next;
    return at.tile < p.tiles;
  };
  while (turn(even) && turn(odd)) {
  }
#if ROUTE
  __shared__ int is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(p.arrived, 1) == (int)gridDim.x - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int row = warp; row < ROWS; row += WARPS) route_row(p.route, row, nullptr, lane);
  if (threadIdx.x == 0) *p.arrived = 0;
#endif
}
