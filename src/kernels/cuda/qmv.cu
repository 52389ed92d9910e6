// Products of packed matrices with a few vectors (four columns of operands at most), for decoding one or two rows: every
// weight is read once, and what comes before and after the product is part of it.
//
// Defines besides packed.cuh's: TYPE of activations, OUT_TYPE, NORM_TYPE of the norm's weight, ROWS (activations), and
// EVEN (every warp has whole rounds of UNROLL steps).
//
// The eight warps of a block share sixteen rows of weights and each takes an eighth of the columns. All of the
// activations lie in shared memory in bf16; float16 and float32 as a sum of two and three bf16 numbers, each a column of
// its own, so that nothing is lost. Numbers of weights are multiplied exactly; scale and bias come in after each step.
//
// Loads of less than 16 bytes a thread would ask more of the L2 cache than it gives. A thread's 16 bytes are two steps'
// weights of four bits (PAIRED): the first two threads of a row have the first step, the others the second. In the
// product each step has its own column, which is zero for the other's threads.
#define PARTS (TYPE == BF16 ? 1 : TYPE == F16 ? 2 : 3)
#define COLUMNS (ROWS * PARTS)
#define WARPS 8
#define THREADS (WARPS * 32)
#define UNROLL (BITS == 4 ? 4 : BITS == 8 ? 2 : 1)
#define PAIRED (EVEN && BITS == 4 && GROUP >= 64)
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
  int gated;       // the first two: y = act(first) * second
  int activation;  // as CpuKernels::gated takes it
  int tiles;
  int columns;
  float eps, multiplier;
  const void* x;         // [ROWS, columns]
  const void* norm;      // [columns], or null
  const void* residual;  // [ROWS, rows]: y = residual + multiplier * product; or null
};

struct Stage {
  u32 words[2][UNROLL][LANE_WORDS];  // PAIRED: of a pair of steps, four words on from the first one's
  u32 scales[2][UNROLL], biases[2][UNROLL];  // with WIDE_SCALES two in each of the first two words
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

extern "C" __global__ void __launch_bounds__(THREADS, 2) qmv(const __grid_constant__ QmvParams p) {
  extern __shared__ __align__(16) u8 shared[];
  __shared__ float partial[2][2][WARPS][16][8];
  __shared__ float squares[WARPS][ROWS];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int steps = p.columns / STEP, stride = p.columns * 2 + 16;  // a column's bytes; the pad spreads the banks
  float* const sums = (float*)(shared + COLUMNS * stride);          // [steps, COLUMNS] of the activations
  const int each = (steps + WARPS - 1) / WARPS, begin = warp * each, end = min(begin + each, steps);
  const int rounds = (each + UNROLL - 1) / UNROLL, parts = p.gated ? 2 : 1;
  const long long row_bytes = (long long)p.columns * BITS / 8, groups = p.columns / GROUP;

  const auto matrix_of = [&](int tile, int part) -> const Matrix& {
    if (p.gated) return p.matrices[part];
    int m = 0;
    while (m + 1 < p.count && tile >= p.matrices[m + 1].first_tile) ++m;
    return p.matrices[m];
  };
  const auto load = [&](Stage& stage, int tile, int part, int round) {
    const Matrix& m = matrix_of(tile, part);
    const int first = begin + round * UNROLL;
    for (int half = 0; half < 2; ++half) {
      const long long row = min((tile - m.first_tile) * 16 + half * 8 + g, m.rows - 1);
      const u8* at = (const u8*)m.weight + row * row_bytes + t * LANE_WORDS * 4 * (PAIRED ? 2 : 1);
      for (int u = 0; u < UNROLL; ++u) {
        if (!EVEN && first + u >= end) break;
        if (!PAIRED) {
          load_words(at + (first + u) * (STEP * BITS / 8), stage.words[half][u]);
        } else if (u % 2 == 0) {
          const uint4 w = stream128(at + (first + u) * (STEP * BITS / 8));
          stage.words[half][u][0] = w.x, stage.words[half][u][LANE_WORDS - 1] = w.y;
          stage.words[half][(u + 1) % UNROLL][0] = w.z, stage.words[half][(u + 1) % UNROLL][LANE_WORDS - 1] = w.w;
        }
        if (WIDE_SCALES) continue;
        stage.scales[half][u] = raw_scale(m.scales, row * groups + (first + u) / (GROUP / STEP));
        stage.biases[half][u] = raw_scale(m.biases, row * groups + (first + u) / (GROUP / STEP));
      }
      if (WIDE_SCALES) {
        const uint2 s = stream64((const u16*)m.scales + row * groups + first);
        const uint2 b = stream64((const u16*)m.biases + row * groups + first);
        stage.scales[half][0] = s.x, stage.scales[half][1] = s.y;
        stage.biases[half][0] = b.x, stage.biases[half][1] = b.y;
      }
    }
  };

  // The block's work in turn: rounds of a part of a tile. The last round of a tile ends with its sums.
  struct Place {
    int tile, part, round;
  };
  const auto after = [&](Place at) {
    if (++at.round == rounds) at.round = 0, ++at.part;
    if (at.part == parts) at.part = 0, at.tile += gridDim.x;
    return at;
  };
  Place at{(int)blockIdx.x, 0, 0}, ahead = after(at);
  if (at.tile >= p.tiles) return;
  Stage even, odd;
  load(even, at.tile, at.part, at.round);
  if (ahead.tile < p.tiles) load(odd, ahead.tile, ahead.part, ahead.round);

  // The activations, normed, while the first weights are on their way.
  float scale_of_row[ROWS];
  for (int m = 0; m < ROWS; ++m) scale_of_row[m] = 1;
  if (p.norm) {
    for (int m = 0; m < ROWS; ++m) {
      float sum = 0;
      for (int c = threadIdx.x; c < p.columns / 8; c += THREADS) {
        float x[8];
        load8<TYPE>(p.x, (long long)m * p.columns + c * 8, x);
        for (int i = 0; i < 8; ++i) sum += x[i] * x[i];
      }
      sum = warp_sum(sum);
      if (lane == 0) squares[warp][m] = sum;
    }
    __syncthreads();
    for (int m = 0; m < ROWS; ++m) {
      float sum = 0;
      for (int w = 0; w < WARPS; ++w) sum += squares[w][m];
      scale_of_row[m] = rsqrtf(sum / p.columns + p.eps);
    }
  }
  for (int base = 0; base < p.columns / 8; base += THREADS) {
    const int c = base + threadIdx.x;
    const bool inside = c < p.columns / 8;
    float factor[8];
    if (p.norm && inside) load8<NORM_TYPE>(p.norm, c * 8, factor);
    for (int m = 0; m < ROWS; ++m) {
      float x[8];
      if (inside) load8<TYPE>(p.x, (long long)m * p.columns + c * 8, x);
      for (int i = 0; i < 8; ++i) {
        if (!inside) x[i] = 0;
        if (p.norm && inside) x[i] = to_float<TYPE>(from_float<TYPE>(x[i] * scale_of_row[m] * factor[i]));
      }
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
          if (c % (STEP / 8) == 0) sums[c / (STEP / 8) * COLUMNS + column] = sum;
        }
      }
    }
  }
  __syncthreads();

  // Where this thread's operands are; of the columns of products 2t and 2t + 1, where the sums are.
  const bool has_own = !PAIRED || (g / 2 < COLUMNS && g % 2 == t / 2);
  const u8* const own = has_own ? shared + (PAIRED ? g / 2 : min(g, COLUMNS - 1)) * stride +
                                      t * LANE_WEIGHTS * 2 * (PAIRED ? 2 : 1)
                                : shared;
  const int left = min(PAIRED ? t : 2 * t, COLUMNS - 1), right = PAIRED ? left + COLUMNS : min(2 * t + 1, COLUMNS - 1);
  float y[4] = {0, 0, 0, 0};
  int buffer = 0;
  const auto multiply = [&](const Stage& stage) {
    const int first = begin + at.round * UNROLL;
    const auto scale_at = [&](int half, int u) {
      if (!WIDE_SCALES) return scale_of(stage.scales[half][u], stage.biases[half][u]);
      const u32 s = stage.scales[half][u / 2] >> (u % 2 * 16), b = stage.biases[half][u / 2] >> (u % 2 * 16);
      return scale_of(s & 0xffff, b & 0xffff);
    };
#pragma unroll
    for (int u = 0; u < UNROLL; u += PAIRED ? 2 : 1) {
      const int step = first + u;
      if (!EVEN && step >= end) break;
      float c[4] = {0, 0, 0, 0}, d[4] = {0, 0, 0, 0};  // two chains
      for (int half_pair = 0; half_pair < (PAIRED ? 2 : 1); ++half_pair) {
        u32 top[PAIRS], bottom[PAIRS];
        unpack(stage.words[0][(u + half_pair) % UNROLL], top);
        unpack(stage.words[1][(u + half_pair) % UNROLL], bottom);
        for (int i = 0; i < LANE_WEIGHTS / 8; ++i) {
          uint4 x{0, 0, 0, 0};
          if (has_own) x = *(const uint4*)(own + step * STEP * 2 + (half_pair * (LANE_WEIGHTS / 8) + i) * 16);
          mma(c, top[4 * i], bottom[4 * i], top[4 * i + 1], bottom[4 * i + 1], x.x, x.y);
          mma(d, top[4 * i + 2], bottom[4 * i + 2], top[4 * i + 3], bottom[4 * i + 3], x.z, x.w);
        }
      }
      const float a = sums[step * COLUMNS + left], b = sums[step * COLUMNS + right];
      const Scale first_top = scale_at(0, u), first_bottom = scale_at(1, u);
      if (PAIRED) {
        const Scale second_top = scale_at(0, (u + 1) % UNROLL), second_bottom = scale_at(1, (u + 1) % UNROLL);
        y[0] += first_top.scale * (c[0] + d[0]) + first_top.bias * a;
        y[0] += second_top.scale * (c[1] + d[1]) + second_top.bias * b;
        y[2] += first_bottom.scale * (c[2] + d[2]) + first_bottom.bias * a;
        y[2] += second_bottom.scale * (c[3] + d[3]) + second_bottom.bias * b;
      } else {
        y[0] += first_top.scale * (c[0] + d[0]) + first_top.bias * a;
        y[1] += first_top.scale * (c[1] + d[1]) + first_top.bias * b;
        y[2] += first_bottom.scale * (c[2] + d[2]) + first_bottom.bias * a;
        y[3] += first_bottom.scale * (c[3] + d[3]) + first_bottom.bias * b;
      }
    }
  };
  const auto finish = [&](const Place& next) {
    if (next.part != at.part || next.tile != at.tile) {  // the end of sixteen rows
      for (int half = 0; half < 2; ++half) {
        float* const to = partial[buffer][at.part][warp][g + 8 * half];
        if (PAIRED) {
          to[t] = y[2 * half];
        } else {
          *(float2*)(to + 2 * t) = float2{y[2 * half], y[2 * half + 1]};
        }
      }
      y[0] = y[1] = y[2] = y[3] = 0;
    }
    if (next.tile == at.tile) return;
    __syncthreads();  // the other buffer is free when all have come here again
    const Matrix& m = matrix_of(at.tile, 0);
    for (int item = threadIdx.x; item < 16 * ROWS; item += THREADS) {
      const int r = item % 16, n = item / 16, row = (at.tile - m.first_tile) * 16 + r;
      if (row >= m.rows) continue;
      const long long place = (long long)n * m.rows + row;
      float value = 0;
      if (p.residual) value = to_float<OUT_TYPE>(((const Element<OUT_TYPE>::type*)p.residual)[place]);
      float sum[2] = {0, 0};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (i == 1 && !p.gated) break;
        for (int w = 0; w < WARPS; ++w) {
          for (int part = 0; part < PARTS; ++part) sum[i] += partial[buffer][i][w][r][n * PARTS + part];
        }
        const float* bias = p.gated ? p.matrices[i].bias : m.bias;
        if (bias) sum[i] += bias[row];
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
    if (ahead.tile < p.tiles) load(stage, ahead.tile, ahead.part, ahead.round);
    finish(next);
    at = next;
    return at.tile < p.tiles;
  };
  while (turn(even) && turn(odd)) {
  }
}
