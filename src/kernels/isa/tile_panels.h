// Prefill on tiles (tiles_amx.h). Weights, unpacked, and activations are two bfloat16 each, value = high + low to 2^-16
// of it. Of the four products that of the low parts is left out, and nothing remains to be done for each group.

static constexpr int kTileSide = 16;  // rows of weights, or of activations
static constexpr int kTileColumns = 32;

static int64_t tile_columns(int64_t columns) { return (columns + kTileColumns - 1) / kTileColumns * kTileColumns; }

/// A row's high parts, then its low parts; nothing else.
static void tile_row_layout(int64_t columns, int group, int bits, QuantizedRows* rows) {
  if (bits != 0) return row_layout(columns, group, bits, rows);
  rows->stride = 2 * tile_columns(columns);
  rows->units = rows->groups = 0;
}

/// Both parts in the upper halves of their lanes: v cut off, and the rest rounded. NaN stays in one of them.
static inline void split(vf v, vi* high, vi* low) {
  const vi upper = i_set((int32_t)0xffff0000);
  *high = i_and((vi)v, upper);
  *low = i_and(i_add((vi)f_sub(v, f_from_bits(*high)), i_set(0x8000)), upper);
}

static void tile_quantize_row(const float* x, int64_t columns, int group, int bits, const QuantizedRows* out,
                              int64_t row) {
  if (bits != 0) return quantize_row(x, columns, group, bits, out, row);
  const int64_t whole = tile_columns(columns);
  int16_t *high = out->q + row * out->stride, *low = high + whole;
  for (int64_t k = 0; k < columns; k += kLanes) {  // groups, and so columns, are multiples of 16
    vi a, b;
    split(f_load(x + k), &a, &b);
    h_store(high + k, i_shift_right(a, 16));
    h_store(low + k, i_shift_right(b, 16));
  }
  memset(high + columns, 0, (size_t)(whole - columns) * sizeof(int16_t));
  memset(low + columns, 0, (size_t)(whole - columns) * sizeof(int16_t));
}

/// kTileSide weight rows: pairs of bfloat16 as [tile_columns / 2][kTileSide].
struct TilePanel {
  int32_t *high, *low;
};

static int64_t tile_panel_size(int64_t columns) { return tile_columns(columns) / 2 * kTileSide; }

static int64_t tile_affine_scratch(int64_t columns, int group) {
  return affine_scratch(columns, group) + 4 * tile_panel_size(columns) * (int64_t)sizeof(int32_t);
}

static void unpack_tile_panel(const AffineWeight* w, int64_t first, const Panel* panel, uint8_t* bytes,
                              const TilePanel* out) {
  const int64_t pairs = w->columns / 2, pairs_a_group = w->group / 2;
  const vi lower = i_set(0xffff);
  for (int part = 0; part < kTileSide; part += kLanes) {
    unpack_panel(w, first + part, panel, bytes);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const int64_t g = pair / pairs_a_group;
      const vf scale = f_load(panel->scales + g * kLanes), bias = f_load(panel->biases + g * kLanes);
      const vi both = i_load(panel->pairs + pair * kLanes);
      vi even_high, even_low, odd_high, odd_low;
      split(f_fma(f_from_int(i_and(both, lower)), scale, bias), &even_high, &even_low);
      split(f_fma(f_from_int(i_shift_right(both, 16)), scale, bias), &odd_high, &odd_low);
      i_store(out->high + pair * kTileSide + part, i_or(i_shift_right(even_high, 16), odd_high));
      i_store(out->low + pair * kTileSide + part, i_or(i_shift_right(even_low, 16), odd_low));
    }
  }
  const int64_t used = pairs * kTileSide, rest = tile_panel_size(w->columns) - used;
  memset(out->high + used, 0, (size_t)rest * sizeof(int32_t));
  memset(out->low + used, 0, (size_t)rest * sizeof(int32_t));
}

/// Two panels of weight rows, the first of them `row`, and all activation rows.
struct TileProduct {
  TilePanel panels[2];
  const AffineWeight* w;
  const QuantizedRows* x;
  int64_t row;
  float* y;
  int64_t y_stride;
};

/// Tile t to its place: `count` activation rows from r on, weight rows from `weight` on, of which there may be too few.
#define MLXK_STORE_TILE(t, p, r, weight, count)                                                                   \
  {                                                                                                               \
    float* to = (p)->y + (r) * (p)->y_stride + (weight);                                                          \
    const int64_t left = (p)->w->rows - (weight);                                                                 \
    if (left >= kTileSide) {                                                                                      \
      tile_store(t, to, (p)->y_stride*(int64_t)sizeof(float));                                                    \
    } else if (left > 0) {                                                                                        \
      float results[kTileSide][kTileSide];                                                                        \
      tile_store(t, results, sizeof results[0]);                                                                  \
      for (int m = 0; m < (count); ++m) memcpy(to + m * (p)->y_stride, results[m], (size_t)left * sizeof(float)); \
    }                                                                                                             \
  }

/// Both panels times one tile of activation rows from r on, or two; they hold `first` and `second` rows. What is done
/// for a row depends on no other.
template <int X>
static inline void tile_block(const TileProduct* p, int64_t r, int first, int second) {
  tiles_begin(first, second);
  tile_zero(0);
  tile_zero(1);
  if constexpr (X == 2) {
    tile_zero(2);
    tile_zero(3);
  }
  const auto dots = [] {
    tile_dot(0, 4, 6);
    tile_dot(1, 4, 7);
    if constexpr (X == 2) {
      tile_dot(2, 5, 6);
      tile_dot(3, 5, 7);
    }
  };
  const int64_t step = p->x->stride, bytes = step * (int64_t)sizeof(int16_t);
  const int16_t* high = p->x->q + r * step;
  const int16_t* low = high + step / 2;
  for (int64_t k = 0; k < p->w->columns; k += kTileColumns) {
    const int64_t at = k / 2 * kTileSide;
    tile_load(4, high + k, bytes);
    if constexpr (X == 2) tile_load(5, high + kTileSide * step + k, bytes);
    tile_load(6, p->panels[0].low + at, 64);
    tile_load(7, p->panels[1].low + at, 64);
    dots();
    tile_load(6, p->panels[0].high + at, 64);
    tile_load(7, p->panels[1].high + at, 64);
    dots();
    tile_load(4, low + k, bytes);
    if constexpr (X == 2) tile_load(5, low + kTileSide * step + k, bytes);
    dots();
  }
  MLXK_STORE_TILE(0, p, r, p->row, first)
  MLXK_STORE_TILE(1, p, r, p->row + kTileSide, first)
  if constexpr (X == 2) {
    MLXK_STORE_TILE(2, p, r + kTileSide, p->row, second)
    MLXK_STORE_TILE(3, p, r + kTileSide, p->row + kTileSide, second)
  }
}

static void tile_affine_panels(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin_panel,
                               int64_t end_panel, float* y, int64_t y_stride, void* scratch) {
  const int64_t groups = w->columns / w->group, size = tile_panel_size(w->columns);
  int32_t* at = (int32_t*)scratch;
  TileProduct p = {{{at, at + size}, {at + 2 * size, at + 3 * size}}, w, x, 0, y, y_stride};
  at += 4 * size;
  float* factors = (float*)(at + w->columns / 2 * kLanes);
  const Panel unpacked = {at, factors, factors + groups * kLanes};
  uint8_t* bytes = (uint8_t*)(factors + 2 * groups * kLanes);
  const int64_t end = end_panel * kLanes < w->rows ? end_panel * kLanes : w->rows;
  for (p.row = begin_panel * kLanes; p.row < end; p.row += 2 * kTileSide) {
    for (int a = 0; a < 2; ++a) unpack_tile_panel(w, p.row + a * kTileSide, &unpacked, bytes, &p.panels[a]);
    int64_t r = 0;
    for (; r + kTileSide < n; r += 2 * kTileSide) {
      tile_block<2>(&p, r, kTileSide, (int)(n - r < 2 * kTileSide ? n - r - kTileSide : kTileSide));
    }
    if (r < n) tile_block<1>(&p, r, (int)(n - r), kTileSide);
    tiles_end();
  }
}
