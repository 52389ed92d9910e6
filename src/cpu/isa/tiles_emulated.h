// Tiles in plain C, for testing the code that uses them (tiles_amx.h has the instructions).
#include <stdint.h>
#include <string.h>

struct Tile {
  int rows;
  uint8_t bytes[16][64];
};
static thread_local Tile tiles[8];

static inline void tiles_begin(int first, int second) {
  memset(tiles, 0xff, sizeof tiles);
  for (int t = 0; t < 8; ++t) tiles[t].rows = t < 2 || t == 4 ? first : t < 4 || t == 5 ? second : 16;
}
static inline void tiles_written() {}
static inline void tiles_end() { memset(tiles, 0xff, sizeof tiles); }
static inline void tile_zero(int t) { memset(tiles[t].bytes, 0, sizeof tiles[t].bytes); }
static inline void tile_load(int t, const void* from, int64_t stride) {
  memset(tiles[t].bytes, 0, sizeof tiles[t].bytes);
  for (int r = 0; r < tiles[t].rows; ++r) memcpy(tiles[t].bytes[r], (const uint8_t*)from + r * stride, 64);
}
static inline void tile_store(int t, void* to, int64_t stride) {
  for (int r = 0; r < tiles[t].rows; ++r) memcpy((uint8_t*)to + r * stride, tiles[t].bytes[r], 64);
}

static inline float tile_part(int t, int row, int i) {
  uint16_t half;
  memcpy(&half, tiles[t].bytes[row] + 2 * i, 2);
  const uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static inline void tile_dot(int c, int a, int b) {
  for (int m = 0; m < tiles[c].rows; ++m) {
    float sums[16];
    memcpy(sums, tiles[c].bytes[m], 64);
    for (int k = 0; k < 16; ++k) {
      const float even = tile_part(a, m, 2 * k), odd = tile_part(a, m, 2 * k + 1);
      for (int n = 0; n < 16; ++n) sums[n] += even * tile_part(b, k, 2 * n) + odd * tile_part(b, k, 2 * n + 1);
    }
    memcpy(tiles[c].bytes[m], sums, 64);
  }
}
