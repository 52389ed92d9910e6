// Products of stacked matrices with many bfloat16 vectors, for mixtures of experts: those of an expert are a group of
// route.cu, up to TILES · 8 pairs, whose tile of activations all warps of a block share.
//
// Defines besides packed.cuh's: TILES (of eight pairs), WARPS, DEPTH (stages in flight), RESIDENT (blocks of a
// multiprocessor), GATED (the first of two matrices is the gate of the second), ORDERED (0 or 1: the products are
// operands for weights of four bits).
//
// A warp takes 32 rows of weights, where gated sixteen of each matrix, and all columns, 128 in a stage. Weights become
// bfloat16 numbers, as in unpack.cu, and are multiplied in the order in which they lie: activations for four bits have
// the order 0 4 1 5 2 6 3 7 within eight (in_weight_order), which `operands` in rows.cu and this kernel write.
//
// Rows, 16 at least, that the last warps lack are those before, computed twice.
#define THREADS (WARPS * 32)
#define STAGE 128                          // columns
#define VECTORS (TILES * 8)
#define HALF_BYTES (VECTORS * 128)         // of the activations of 64 columns
#define X_BYTES (2 * HALF_BYTES)
#define W_ROW (STAGE * BITS / 8)           // of a row, in a stage
#define W_CHUNKS (W_ROW / 16)
#define W_STEP (STEP * BITS / 8)           // of a row, in a step
#define W_BYTES (32 * W_ROW)               // of a warp
#define SCALE_ROW (BITS == 16 ? 0 : STAGE / GROUP * (MX ? 1 : 2))
#define SCALE_BYTES (32 * SCALE_ROW)       // of a warp
#define WARP_BYTES (W_BYTES + SCALE_BYTES * (MX ? 1 : 2))
#define STAGE_BYTES (X_BYTES + WARPS * WARP_BYTES)
#define X_TURNS ((VECTORS * 16 + THREADS - 1) / THREADS)  // copies of a thread in a stage

struct Matrix {
  const void* weight;  // [experts, rows, columns]
  const void* scales;
  const void* biases;
  const float* bias;   // [experts, rows], or null
};

struct GroupedParams {
  Matrix matrices[2];
  u16* y;             // [pairs, rows]
  int rows, columns, tiles, activation;
  int pairs_of_row;   // pair a reads row a / pairs_of_row of x
  const u16* x;       // [pairs / pairs_of_row, columns]
  const int* groups;  // their number, then {expert, first, count} of each
  const int* order;   // pairs
};

DEVICE void copy16(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from));
}
template <int BYTES>
DEVICE void copy_small(u32 to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(BYTES));
}
// The place of a chunk of a row: rows of 128 bytes would all begin in one bank.
DEVICE int place(int row, int chunk, int chunks) { return (row * chunks + (chunks == 8 ? chunk ^ (row & 7) : chunk)) * 16; }

DEVICE u32 fma_bf16(u32 a, u32 b, u32 c) {
  u32 y;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}
// Rows of an 8 × 8 matrix of 16-bit elements become columns.
DEVICE u32 transposed(u32 x) {
  u32 y;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) grouped(const __grid_constant__ GroupedParams p) {
  let_next_begin();
  wait_for_earlier();
  extern __shared__ __align__(128) u8 shared[];
  const u32 shared_at = (u32)__cvta_generic_to_shared(shared);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int steps = p.columns / STAGE, scales_of_row = p.columns / GROUP;
  const long long row_bytes = (long long)p.columns * BITS / 8;
  const int chunks = p.groups[0], items = p.tiles * chunks;
  const int own_items = blockIdx.x < items ? (items - blockIdx.x + gridDim.x - 1) / gridDim.x : 0;
  const auto first_row = [&](int tile, int band) {
    const int row = GATED ? (tile * WARPS + warp) * 16 : (tile * WARPS + warp) * 32 + band * 16;
    return min(row, p.rows - 16);
  };

  // The next copy: stage `fetch_step` of the block's item `fetch_item`, the addresses of this thread's parts, and what
  // the item after that begins with.
  int fetch_item = 0, fetch_step = 0, fetch_slot = 0, fetch_count = 0;
  int next_expert = 0, next_first = 0, next_count = 0, next_rows[X_TURNS];
  const u16* fetch_x[X_TURNS];
  const u8 *fetch_w[2], *fetch_scale = nullptr, *fetch_bias = nullptr;
  const int x_vector = threadIdx.x / 16, x_chunk = threadIdx.x % 16;
  const auto look_ahead = [&](int k) {
    if (k >= own_items) return;
    const int* const group = p.groups + 1 + 3 * ((blockIdx.x + k * gridDim.x) % chunks);
    next_expert = group[0], next_first = group[1], next_count = group[2];
  };
  const auto look_up_rows = [&](int k) {
    if (k >= own_items) return;
#pragma unroll
    for (int i = 0; i < X_TURNS; ++i)
      next_rows[i] = p.order[next_first + min(x_vector + THREADS / 16 * i, next_count - 1)] / p.pairs_of_row;
  };
  const auto begin_item = [&] {
    const int tile = (blockIdx.x + fetch_item * gridDim.x) / chunks;
    const long long expert_row = (long long)next_expert * p.rows;
    fetch_count = next_count;
#pragma unroll
    for (int i = 0; i < X_TURNS; ++i) fetch_x[i] = p.x + (long long)next_rows[i] * p.columns + x_chunk * 8;
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      fetch_w[b] = (const u8*)p.matrices[GATED ? b : 0].weight +
                   (expert_row + first_row(tile, b) + lane / W_CHUNKS) * row_bytes + lane % W_CHUNKS * 16;
    }
    if (BITS == 16) return;
    const Matrix& m = p.matrices[GATED ? lane / 16 : 0];
    const long long at = (expert_row + first_row(tile, lane / 16) + lane % 16) * scales_of_row * (MX ? 1 : 2);
    fetch_scale = (const u8*)m.scales + at;
    fetch_bias = (const u8*)m.biases + at;
  };
  const auto fetch_next = [&] {
    if (fetch_item < own_items) {
      if (fetch_step == 0) {
        begin_item();
        look_ahead(fetch_item + 1);
      }
      if (fetch_step == min(1, steps - 1)) look_up_rows(fetch_item + 1);
      const u32 x = shared_at + fetch_slot * STAGE_BYTES, weights = x + X_BYTES + warp * WARP_BYTES;
#pragma unroll
      for (int i = 0; i < X_TURNS; ++i) {
        const int v = x_vector + THREADS / 16 * i;
        if (v < fetch_count) copy16(x + x_chunk / 8 * HALF_BYTES + place(v, x_chunk % 8, 8), fetch_x[i] + fetch_step * STAGE);
      }
#pragma unroll
      for (int i = 0; i < W_CHUNKS; ++i) {
        const int first = 32 / W_CHUNKS * i, r = first + lane / W_CHUNKS, c = lane % W_CHUNKS;
        copy16(weights + c / (W_STEP / 16) * (32 * W_STEP) + place(r, c % (W_STEP / 16), W_STEP / 16),
               fetch_w[first / 16] + first % 16 * row_bytes + fetch_step * W_ROW);
      }
      if (BITS != 16) {
        copy_small<BITS == 16 ? 4 : SCALE_ROW>(weights + W_BYTES + lane * SCALE_ROW, fetch_scale + fetch_step * SCALE_ROW);
        if (!MX)
          copy_small<BITS == 16 ? 4 : SCALE_ROW>(weights + W_BYTES + SCALE_BYTES + lane * SCALE_ROW,
                                                 fetch_bias + fetch_step * SCALE_ROW);
      }
      if (++fetch_slot == DEPTH) fetch_slot = 0;
      if (++fetch_step == steps) fetch_step = 0, ++fetch_item;
    }
    asm volatile("cp.async.commit_group;");
  };
  look_ahead(0);
  look_up_rows(0);
  for (int i = 0; i < DEPTH - 1; ++i) fetch_next();

  // The row of weights that is row i of a product.
  const auto row_of = [](int i) { return GATED && ORDERED ? i / 2 + i % 2 * 4 : i; };
  const int own_row = row_of(g);
  int slot = 0;
  for (int k = 0; k < own_items; ++k) {
    const int item = blockIdx.x + k * gridDim.x, tile = item / chunks;
    const int* const group = p.groups + 1 + 3 * (item % chunks);
    const int first = group[1], count = group[2], used = (count + 7) / 8;
    float y[2][TILES][4];
#pragma unroll
    for (int b = 0; b < 2; ++b)
      for (int n = 0; n < TILES; ++n)
        for (int i = 0; i < 4; ++i) y[b][n][i] = 0;

    for (int step = 0; step < steps; ++step) {
      asm volatile("cp.async.wait_group %0;" ::"n"(DEPTH - 2));
      __syncthreads();
      fetch_next();  // overwrites the stage that was used last
      const u8* const x = shared + slot * STAGE_BYTES;
      const u8* const weights = x + X_BYTES + warp * WARP_BYTES;
      if (++slot == DEPTH) slot = 0;
#pragma unroll
      for (int s = 0; s < STAGE / STEP; ++s) {
        u32 words[2][2][LANE_WORDS], scale[2][2], bias[2][2];
#pragma unroll
        for (int b = 0; b < 2; ++b) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int r = b * 16 + half * 8 + own_row;
            const u8* const from = weights + s * (32 * W_STEP);
            if (LANE_WORDS == 1) {
              words[b][half][0] = *(const u32*)(from + r * W_STEP + t * 4);
            } else if (LANE_WORDS == 2) {
              const uint2 w = *(const uint2*)(from + r * W_STEP + t * 8);
              words[b][half][0] = w.x, words[b][half][LANE_WORDS - 1] = w.y;
            } else {
              for (int j = 0; j < LANE_WORDS / 4; ++j) {
                const uint4 w = *(const uint4*)(from + place(r, t * (LANE_WORDS / 4) + j, W_STEP / 16));
                words[b][half][4 * j] = w.x, words[b][half][(4 * j + 1) % LANE_WORDS] = w.y;
                words[b][half][(4 * j + 2) % LANE_WORDS] = w.z, words[b][half][(4 * j + 3) % LANE_WORDS] = w.w;
              }
            }
            if (BITS == 16) continue;
            const u8* const scales = weights + W_BYTES + r * SCALE_ROW;
            const int which = s * STEP / GROUP;
            if (MX) {  // a power of two
              const u32 e = scales[which], one = e == 0 ? 0x0040u : e << 7;
              scale[b][half] = one | one << 16;
            } else {
              scale[b][half] = *(const u16*)(scales + 2 * which) * 0x10001u;
              bias[b][half] = *(const u16*)(scales + SCALE_BYTES + 2 * which) * 0x10001u;
            }
          }
        }
#pragma unroll
        for (int j = 0; j < LANE_WEIGHTS / 8; ++j) {
          constexpr int kWords = BITS / 4;  // of eight weights
          u32 a[2][2][4];
#pragma unroll
          for (int b = 0; b < 2; ++b) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              unpack<kWords>(words[b][half] + j * kWords, a[b][half]);
              if (BITS == 16) continue;
              for (int i = 0; i < 4; ++i) {
                u32& pair = a[b][half][i];
                if (MX) {
                  pair = fma_bf16(pair, scale[b][half], 0x80008000u);
                } else {
                  if (BITS == 4) pair = fma_bf16(pair, 0x3f803f80u, 0xc300c300u);  // minus 128
                  pair = fma_bf16(pair, scale[b][half], bias[b][half]);
                }
              }
            }
          }
          const int column = s * STEP % 64 + t * LANE_WEIGHTS + j * 8;
          const u8* const operands = x + s * STEP / 64 * HALF_BYTES + g * 128 + (column / 8 ^ g) * 16;
#pragma unroll
          for (int n = 0; n < TILES; n += 2) {
            if (TILES > 1 && n >= used) break;
#pragma unroll
            for (int m = n; m < min(n + 2, TILES); ++m) {
              const uint4 v = *(const uint4*)(operands + m * 1024);
#pragma unroll
              for (int b = 0; b < 2; ++b) {
                mma(y[b][m], a[b][0][0], a[b][1][0], a[b][0][1], a[b][1][1], v.x, v.y);
                mma(y[b][m], a[b][0][2], a[b][1][2], a[b][0][3], a[b][1][3], v.z, v.w);
              }
            }
          }
        }
      }
    }

    const long long expert_row = (long long)group[0] * p.rows;
#pragma unroll
    for (int b = 0; b < (GATED ? 1 : 2); ++b) {
      const int row = first_row(tile, b);
      float bias[2][2] = {{0, 0}, {0, 0}};
      for (int m = 0; m < (GATED ? 2 : 1); ++m) {
        const float* const from = p.matrices[m].bias;
        if (!from) continue;
        for (int half = 0; half < 2; ++half) bias[m][half] = from[expert_row + row + half * 8 + own_row];
      }
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
        if (n >= used) break;
        const bool there = n * 8 + g < count;
        const long long pair = p.order[first + min(n * 8 + g, count - 1)];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float out[2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const float value = y[b][n][2 * half + i] + bias[0][half];
            out[i] = GATED ? activate(p.activation, value) * (y[1][n][2 * half + i] + bias[1][half]) : value;
          }
          const u32 both = transposed(pack_bf16(out[0], out[1]));
          if (there) *(u32*)(p.y + pair * p.rows + row + half * 8 + 2 * t) = both;
        }
      }
    }
  }
}
