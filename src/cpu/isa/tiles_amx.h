// AMX tiles: eight registers of up to 16 rows of 64 bytes. Their numbers are part of the instructions, so the code that
// uses them consists of macros.
#include <immintrin.h>
#include <stdint.h>

/// Gives tiles 0, 1 and 4 `first` rows, 2, 3 and 5 `second`, the others 16. Earlier writes to memory are visible.
static inline void tiles_begin(int first, int second) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } config = {};
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = 64;
    config.rows[t] = (uint8_t)(t < 2 || t == 4 ? first : t < 4 || t == 5 ? second : 16);
  }
  __asm__ volatile("" : : "r"(&config) : "memory");  // compilers assume that the instruction reads 8 bytes
  _tile_loadconfig(&config);
}

/// Earlier writes to memory are visible to the loads that follow; tiles_begin does the same.
static inline void tiles_written() { __asm__ volatile("" : : : "memory"); }

static inline void tiles_end() {
  _tile_release();
  __asm__ volatile("" : : : "memory");
}

#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, stride) _tile_loadd(t, from, stride)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
/// c[m][n] += the sum over k of a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1], of bfloat16 in float32.
#define tile_dot(c, a, b) _tile_dpbf16ps(c, a, b)
