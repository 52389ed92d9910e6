// Products of packed matrices with up to a few dozen vectors, for decoding many rows: tensor cores, every weight read
// once for each VECTORS operands.
//
// Defines besides packed.cuh's: OUT_TYPE, PARTS (operands of an activation row: bf16 1, float16 2, float32 3, see
// split.cu), TILES (of eight operands), BANDS (of sixteen rows of weights, even where gated), DEPTH (stages in flight),
// WARPS, RESIDENT (blocks of a multiprocessor), WIDE_SCALES (four scales of a row are in aligned memory), EXPERTS.
//
// The warps of a block share BANDS · 16 rows of weights; each processes a part of the columns and copies its weights and
// activations through its own ring, so that no warp waits for another until the sums are added up.
//
// EXPERTS (1): the matrices are stacks, and the rows of activations multiplied with one of them at once are a group of
// route.cu: pair `a` reads row a / pairs_of_row of x and writes row a of y.
#ifndef EXPERTS
#define EXPERTS 0
#endif
#define THREADS (WARPS * 32)
#define VECTORS (TILES * 8)
#define X_BYTES (STEP * 2)                // of a vector, in a step
#define W_BYTES (STEP * BITS / 8)         // of a row, in a step
#define X_CHUNKS (X_BYTES / 16)
#define W_CHUNKS (W_BYTES / 16)
#define HALF ((BANDS + 1) / 2)          // where gated: bands of each matrix
#define STAGE_BYTES (VECTORS * X_BYTES + BANDS * 16 * W_BYTES)
#define SPAN (4 * (GROUP / STEP))         // steps of four scales
#define SCALE_BYTES (MX ? 4 : SCALE_TYPE == F32 ? 16 : 8)
#define QUADS (DEPTH <= SPAN + 1 ? 2 : 4)  // places for four scales of each row
#define SCALES_BYTES (BITS == 16 ? 0 : QUADS * BANDS * 16 * SCALE_BYTES * (MX ? 1 : 2))
#define RING_BYTES (DEPTH * STAGE_BYTES + SCALES_BYTES)
#define SUM_STRIDE (TILES % 2 == 0 ? VECTORS + 8 : VECTORS)

struct Matrix {
  const void* weight;
  const void* scales;
  const void* biases;
  const float* bias;  // [rows], or null
  void* y;            // [n, rows]
  int rows;
  int first_tile;
};

struct QmmParams {
  Matrix matrices[4];
  int count, gated, activation;  // as in qmv.cu
  int tiles;
  int columns;
  int n;         // rows of activations
  int at_once;   // of them, with PARTS operands each, in VECTORS
  float multiplier;
  const u16* x;  // [n · PARTS, columns] bf16
  const void* residual;
  const int* groups;  // EXPERTS: their number, then {expert, first, count} of each
  const int* order;   // pairs
  int pairs_of_row;
};

DEVICE void copy16(u32 to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0));
}
template <int BYTES>
DEVICE void copy_small(u32 to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(BYTES));
}
// The place of a chunk of a row: rows of 128 bytes would all begin in one bank.
DEVICE int place(int row, int chunk, int chunks) { return (row * chunks + (chunks == 8 ? chunk ^ (row & 7) : chunk)) * 16; }

// How a warp shares out its copies of a stage: a lane's chunks in turn.
#define X_TURNS (VECTORS * X_CHUNKS / 32)
#define W_TURNS (BANDS * 16 * W_CHUNKS / 32 > 0 ? BANDS * 16 * W_CHUNKS / 32 : 1)
#define SCALE_TURNS ((BANDS * 16 + 31) / 32)

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) qmm(const __grid_constant__ QmmParams p) {
  let_next_begin();
  wait_for_earlier();
  extern __shared__ __align__(128) u8 shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  u8* const ring = shared + warp * RING_BYTES;
  u8* const scale_ring = ring + DEPTH * STAGE_BYTES;
  const u32 ring_at = (u32)__cvta_generic_to_shared(ring), scale_ring_at = ring_at + DEPTH * STAGE_BYTES;
  float* const sums = (float*)(shared + WARPS * RING_BYTES);  // [1 or 2, WARPS, 16, SUM_STRIDE]
  const int steps = p.columns / STEP, each = ((steps + WARPS - 1) / WARPS + SPAN - 1) / SPAN * SPAN;
  const int begin = min(warp * each, steps), count = min(begin + each, steps) - begin;
  const long long row_bytes = (long long)p.columns * BITS / 8, groups = p.columns / GROUP;
  const int chunks = EXPERTS ? p.groups[0] : (p.n + p.at_once - 1) / p.at_once, items = p.tiles * chunks;
  const int own_items = blockIdx.x < items ? (items - blockIdx.x + gridDim.x - 1) / gridDim.x : 0;

  const auto matrix_of = [&](int tile, int band) -> const Matrix& {
    if (p.gated) return p.matrices[band >= HALF];
    int m = 0;
    while (m + 1 < p.count && tile >= p.matrices[m + 1].first_tile) ++m;
    return p.matrices[m];
  };
  const auto first_row = [&](const Matrix& m, int tile, int band) {
    return p.gated ? (tile * HALF + band % HALF) * 16 : ((tile - m.first_tile) * BANDS + band) * 16;
  };

  // The next copy: step `fetch_step` of the block's item `fetch_item`, and the addresses of this lane's parts.
  int fetch_item = 0, fetch_step = 0, fetch_slot = 0, fetch_quad = 0, fetch_vectors = 0;
  const u16* fetch_x = nullptr;
  const u16* fetch_pairs[X_TURNS];  // EXPERTS
  const u8* fetch_w[W_TURNS];
  const u8* fetch_scales[SCALE_TURNS];
  const u8* fetch_biases[SCALE_TURNS];
  const int x_vector = lane / X_CHUNKS, x_chunk = lane % X_CHUNKS;
  const auto begin_item = [&] {
    const int item = blockIdx.x + fetch_item * gridDim.x, tile = item / chunks, chunk = item % chunks;
    const int* const group = p.groups + 1 + 3 * chunk;
    const long long expert = EXPERTS ? group[0] : 0;
    if (EXPERTS) {
      fetch_vectors = group[2] * PARTS;
      for (int i = 0; i < X_TURNS; ++i) {
        const int v = min(x_vector + 32 / X_CHUNKS * i, fetch_vectors - 1);
        const long long row = p.order[group[1] + v / PARTS] / p.pairs_of_row;
        fetch_pairs[i] = p.x + (row * PARTS + v % PARTS) * p.columns + begin * STEP + x_chunk * 8;
      }
    } else {
      fetch_vectors = min(p.at_once, p.n - chunk * p.at_once) * PARTS;
      fetch_x = p.x + ((long long)chunk * p.at_once * PARTS + x_vector) * p.columns + begin * STEP + x_chunk * 8;
    }
    for (int i = 0; i < W_TURNS; ++i) {
      const int r = (lane + 32 * i) / W_CHUNKS;
      const Matrix& m = matrix_of(tile, r / 16);
      const long long row = expert * m.rows + min(first_row(m, tile, r / 16) + r % 16, m.rows - 1);
      fetch_w[i] = (const u8*)m.weight + row * row_bytes + begin * W_BYTES + (lane + 32 * i) % W_CHUNKS * 16;
    }
    if (BITS == 16 || !WIDE_SCALES) return;
    for (int i = 0; i < SCALE_TURNS; ++i) {
      const int r = min(lane + 32 * i, BANDS * 16 - 1);
      const Matrix& m = matrix_of(tile, r / 16);
      const long long row = expert * m.rows + min(first_row(m, tile, r / 16) + r % 16, m.rows - 1);
      const long long at = (row * groups + begin / (GROUP / STEP)) * (SCALE_BYTES / 4);
      fetch_scales[i] = (const u8*)m.scales + at;
      fetch_biases[i] = (const u8*)m.biases + at;
    }
  };
  const auto fetch_next = [&] {
    if (fetch_item < own_items && count > 0) {
      if (fetch_step == 0) begin_item();
      const u32 stage = ring_at + fetch_slot * STAGE_BYTES;
      for (int i = 0; i < X_TURNS; ++i) {
        const int v = x_vector + 32 / X_CHUNKS * i;
        const bool there = v < fetch_vectors;
        const u16* const row = EXPERTS ? fetch_pairs[i]
                               : there ? fetch_x + (long long)(32 / X_CHUNKS * i) * p.columns
                                       : fetch_x - (long long)x_vector * p.columns;
        copy16(stage + place(v, x_chunk, X_CHUNKS), row + fetch_step * STEP, there);
      }
      const u32 weights = stage + VECTORS * X_BYTES;
      for (int i = 0; i < W_TURNS; ++i) {
        const int c = lane + 32 * i;
        if (BANDS * 16 * W_CHUNKS < 32 && c >= BANDS * 16 * W_CHUNKS) break;
        copy16(weights + place(c / W_CHUNKS, c % W_CHUNKS, W_CHUNKS), fetch_w[i] + fetch_step * W_BYTES, true);
      }
      if (BITS != 16 && WIDE_SCALES && fetch_step % SPAN == 0) {
        const u32 to = scale_ring_at + fetch_quad * (SCALES_BYTES / QUADS);
        for (int i = 0; i < SCALE_TURNS; ++i) {
          const int r = lane + 32 * i;
          if (BANDS % 2 != 0 && r >= BANDS * 16) break;
          copy_small<SCALE_BYTES>(to + r * SCALE_BYTES, fetch_scales[i] + fetch_step / SPAN * SCALE_BYTES);
          if (!MX)
            copy_small<SCALE_BYTES>(to + (BANDS * 16 + r) * SCALE_BYTES,
                                    fetch_biases[i] + fetch_step / SPAN * SCALE_BYTES);
        }
        if (++fetch_quad == QUADS) fetch_quad = 0;
      }
      if (++fetch_slot == DEPTH) fetch_slot = 0;
      if (++fetch_step == count) fetch_step = 0, ++fetch_item;
    }
    asm volatile("cp.async.commit_group;");
  };
  for (int i = 0; i < DEPTH - 1; ++i) fetch_next();

  int slot = 0, quad = -1;
  for (int k = 0; k < own_items; ++k) {
    const int item = blockIdx.x + k * gridDim.x, tile = item / chunks, chunk = item % chunks;
    const int* const group = p.groups + 1 + 3 * chunk;
    const long long expert = EXPERTS ? group[0] : 0;
    float y[BANDS][TILES][4];
    for (int b = 0; b < BANDS; ++b)
      for (int n = 0; n < TILES; ++n)
        for (int i = 0; i < 4; ++i) y[b][n][i] = 0;

    for (int i = 0; i < count; ++i) {
      asm volatile("cp.async.wait_group %0;" ::"n"(DEPTH - 2));
      __syncwarp();
      fetch_next();  // overwrites the stage that was used last
      const u8* const stage = ring + slot * STAGE_BYTES;
      if (++slot == DEPTH) slot = 0;
      if (i % SPAN == 0 && ++quad == QUADS) quad = 0;
      const u8* const weights = stage + VECTORS * X_BYTES;
      u32 a[BANDS][2][PAIRS];
      Scale scale[BANDS][2];
#pragma unroll
      for (int b = 0; b < BANDS; ++b) {
        for (int half = 0; half < 2; ++half) {
          const int r = b * 16 + half * 8 + g;
          u32 words[LANE_WORDS];
          if (LANE_WORDS == 1) {
            words[0] = *(const u32*)(weights + r * W_BYTES + t * 4);
          } else if (LANE_WORDS == 2) {
            const uint2 w = *(const uint2*)(weights + r * W_BYTES + t * 8);
            words[0] = w.x, words[LANE_WORDS - 1] = w.y;
          } else {
            for (int j = 0; j < LANE_WORDS / 4; ++j) {
              const uint4 w = *(const uint4*)(weights + place(r, t * (LANE_WORDS / 4) + j, W_CHUNKS));
              words[4 * j] = w.x, words[(4 * j + 1) % LANE_WORDS] = w.y;
              words[(4 * j + 2) % LANE_WORDS] = w.z, words[(4 * j + 3) % LANE_WORDS] = w.w;
            }
          }
          unpack(words, a[b][half]);
          if (BITS != 16 && WIDE_SCALES) {
            const u8* at = scale_ring + quad * (SCALES_BYTES / QUADS) + r * SCALE_BYTES;
            const int which = i / (GROUP / STEP) % 4;
            scale[b][half] = scale_of(raw_scale(at, which), MX ? 0 : raw_scale(at + BANDS * 16 * SCALE_BYTES, which));
          } else {
            const Matrix& m = matrix_of(tile, b);
            const long long row = expert * m.rows + min(first_row(m, tile, b) + half * 8 + g, m.rows - 1);
            const long long at = row * groups + (begin + i) / (GROUP / STEP);
            scale[b][half] = scale_of(raw_scale(m.scales, at), raw_scale(m.biases, at));
          }
        }
      }
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
        u32 x[PAIRS];
        for (int j = 0; j < LANE_WEIGHTS / 8; ++j) {
          in_weight_order(*(const uint4*)(stage + place(n * 8 + g, t * (LANE_WEIGHTS / 8) + j, X_CHUNKS)), x + 4 * j);
        }
        float sum[4] = {0, 0, 0, 0};  // of the activations, in every row
        if (BITS != 16 && !MX) {
          for (int j = 0; j < PRODUCTS; ++j)
            mma(sum, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u, x[2 * j], x[2 * j + 1]);
        }
        for (int b = 0; b < BANDS; ++b) {
          if (BITS == 16) {
            for (int j = 0; j < PRODUCTS; ++j)
              mma(y[b][n], a[b][0][2 * j], a[b][1][2 * j], a[b][0][2 * j + 1], a[b][1][2 * j + 1], x[2 * j],
                  x[2 * j + 1]);
            continue;
          }
          float c[4] = {0, 0, 0, 0};
          for (int j = 0; j < PRODUCTS; ++j)
            mma(c, a[b][0][2 * j], a[b][1][2 * j], a[b][0][2 * j + 1], a[b][1][2 * j + 1], x[2 * j], x[2 * j + 1]);
          for (int i = 0; i < 4; ++i) {
            y[b][n][i] += scale[b][i / 2].scale * c[i];
            if (!MX) y[b][n][i] += scale[b][i / 2].bias * sum[i % 2];
          }
        }
      }
    }

    const int last = p.gated ? HALF : BANDS;
    const int first = EXPERTS ? group[1] : chunk * p.at_once;
    const int rows = EXPERTS ? group[2] : min(p.at_once, p.n - first);
#pragma unroll
    for (int band = 0; band < BANDS; ++band) {
      if (band >= last) break;
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        if (part == 1 && !p.gated) break;
        const int b = (band + part * HALF) % BANDS;
        float* const own = sums + (part * WARPS + warp) * 16 * SUM_STRIDE;
        for (int n = 0; n < TILES; ++n) {
          for (int half = 0; half < 2; ++half) {
            *(float2*)(own + (g + 8 * half) * SUM_STRIDE + n * 8 + 2 * t) =
                float2{y[b][n][2 * half], y[b][n][2 * half + 1]};
          }
        }
      }
      __syncthreads();
      const Matrix& m = matrix_of(tile, 0);
      const int row0 = first_row(m, tile, band);
      for (int item = threadIdx.x; item < 16 * rows; item += THREADS) {
        const int r = item % 16, n = item / 16, row = row0 + r;
        if (row >= m.rows) continue;
        float value[2] = {0, 0};
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          if (part == 1 && !p.gated) break;
          for (int w = 0; w < WARPS; ++w) {
            for (int i = 0; i < PARTS; ++i)
              value[part] += sums[((part * WARPS + w) * 16 + r) * SUM_STRIDE + n * PARTS + i];
          }
          const float* bias = p.gated ? p.matrices[part].bias : m.bias;
          if (bias) value[part] += bias[expert * m.rows + row];
        }
        const long long at = (long long)(EXPERTS ? p.order[first + n] : first + n) * m.rows + row;
        float out = p.gated ? activate(p.activation, value[0]) * value[1] : value[0];
        if (p.residual)
          out = to_float<OUT_TYPE>(((const Element<OUT_TYPE>::type*)p.residual)[at]) + p.multiplier * out;
        ((Element<OUT_TYPE>::type*)m.y)[at] = from_float<OUT_TYPE>(out);
      }
      __syncthreads();
    }
  }
}
