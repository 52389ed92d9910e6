// Rows of a packed matrix as floats: all of them, or those that `ids` names. Defines: BITS, MX, GROUP, SCALE_TYPE as
// packed.cuh, TYPE of the result. A block for each row; a thread unpacks a word.
#define PER_WORD (32 / BITS)

struct UnpackParams {
  const int* ids;     // [gridDim.x], or null
  const u32* weight;  // [rows, columns / PER_WORD]
  const void* scales;
  const void* biases;
  void* y;            // [gridDim.x, columns]
  int rows, columns;
};

extern "C" __global__ void __launch_bounds__(256) unpack_rows(const __grid_constant__ UnpackParams p) {
  let_next_begin();
  wait_for_earlier();
  const long long row = p.ids ? p.ids[blockIdx.x] : blockIdx.x;
  const int words = p.columns / PER_WORD, groups = p.columns / GROUP;
  Element<TYPE>::type* const y = (Element<TYPE>::type*)p.y + (long long)blockIdx.x * p.columns;
  if (row < 0 || row >= p.rows) {  // the id is outside the table
    for (int c = threadIdx.x; c < p.columns; c += 256) y[c] = from_float<TYPE>(__uint_as_float(0x7fc00000u));
    return;
  }
  for (int w = threadIdx.x; w < words; w += 256) {
    const u32 word = p.weight[row * words + w];
    const long long group = row * groups + w * PER_WORD / GROUP;
    const u32 raw = raw_scale(p.scales, group);
    const float scale = MX ? scale_of(raw, 0).scale : scale_number(raw);
    const float bias = MX ? 0 : scale_number(raw_scale(p.biases, group));
    __align__(16) Element<TYPE>::type out[PER_WORD];
    for (int i = 0; i < PER_WORD; ++i) {
      const u32 bits = word >> (i * BITS) & ((1u << BITS) - 1);
      float number = (float)bits;
      if (MX) {  // e2m1
        const u32 size = bits & 7;
        number = size < 2 ? 0.5f * size : (1 + 0.5f * (size & 1)) * (1 << ((size >> 1) - 1));
        if (bits & 8) number = -number;
      }
      out[i] = from_float<TYPE>(scale * number + bias);
    }
    for (int i = 0; i < (int)sizeof(out) / 8; ++i) ((uint2*)(y + w * PER_WORD))[i] = ((const uint2*)out)[i];
  }
}
