// Prefill: many activation rows. `kLanes` weight rows make a panel, unpacked once into pairs of 16-bit values (one lane
// a row) and then multiplied with every activation row, a broadcast pair at a time.

static constexpr bool kWide = kLanes == 16;  // 32 vector registers, else 16
static constexpr int kPanels = kWide ? 2 : 1;
static constexpr int kTokens = kWide ? 6 : 4;

static int64_t affine_scratch(int64_t columns, int group) {
  const int64_t pairs = columns / 2 * kLanes * 4, floats = 2 * (columns / group) * kLanes * 4;
  return (pairs + floats) * kPanels + columns * kLanes + 64;
}

/// Activations of `Vectors` vectors a unit, in natural order.
template <int Vectors>
static inline void quantize_units(const float* x, int64_t groups, int64_t units_a_group, int16_t* q, float* scales,
                                  float* sums) {
  for (int64_t g = 0; g < groups; ++g) {
    float total = 0;
    for (int64_t u = 0; u < units_a_group; ++u) {
      vf v[Vectors], largest = f_zero(), invalid = f_zero();
#pragma GCC unroll 8
      for (int i = 0; i < Vectors; ++i) {
        v[i] = f_load(x + i * kLanes);
        largest = f_max(f_abs(v[i]), largest);
        invalid = f_add(invalid, f_sub(v[i], v[i]));
      }
      // A unit of zeros, or so small that the inverse overflows, counts as zeros.
      const float most = f_greatest(largest), limit = most > 1e-33F ? most : 1e-33F, scale = limit * (1.0F / 32767.0F);
      const vf inverse = f_set(32767.0F / limit);
      vi whole = i_zero();
#pragma GCC unroll 8
      for (int i = 0; i < Vectors; ++i) {
        const vi rounded = i_from_float(f_mul(v[i], inverse));
        h_store(q + i * kLanes, rounded);
        whole = i_add(whole, rounded);
      }
      // The sum is that of the rounded values: then the rounding errors meet scale * q + bias, not scale * q alone. It
      // is exact. NaN and infinity reach the result through the last term.
      total += scale * f_sum(f_add(f_from_int(whole), invalid));
      *scales++ = scale;
      x += Vectors * kLanes;
      q += Vectors * kLanes;
    }
    sums[g] = total;
  }
}

static void quantize_for_panels(const float* x, int64_t columns, int group, const QuantizedRows* out, int64_t row) {
  const int unit = unit_of(group, 0);
  int16_t* q = out->q + row * out->stride;
  float *scales = out->scales + row * out->units, *sums = out->sums + row * out->groups;
  if (unit == 32) return quantize_units<32 / kLanes>(x, columns / group, group / 32, q, scales, sums);
  quantize_units<16 / kLanes>(x, columns / group, 1, q, scales, sums);
}

struct Panel {
  int32_t* pairs;  // [columns / 2][kLanes]: two int16 each
  float* scales;   // [groups][kLanes]
  float* biases;
};

static void unpack_panel(const AffineWeight* w, int64_t first, const Panel* panel, uint8_t* bytes) {
  const int64_t groups = w->columns / w->group;
  const int width = unpacked_bits(w->bits);
  const int64_t row_bytes = w->columns * width / 8;
  const uint8_t* rows[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t row = first + lane < w->rows ? first + lane : w->rows - 1;  // lanes past the end are not stored
    rows[lane] = w->packed + row * (w->columns * w->bits / 8);
    if (width != w->bits) {
      spread_bytes(rows[lane], w->bits, w->columns, bytes + lane * row_bytes);
      rows[lane] = bytes + lane * row_bytes;
    }
    float line[kLanes];
    for (int64_t g = 0; g < groups; g += kLanes) {
      const int n = (int)(groups - g < kLanes ? groups - g : kLanes);
      f_store(line, load_floats(w->scales, row * groups + g, n, w->type));
      for (int j = 0; j < n; ++j) panel->scales[(g + j) * kLanes + lane] = line[j];
      f_store(line, load_floats(w->biases, row * groups + g, n, w->type));
      for (int j = 0; j < n; ++j) panel->biases[(g + j) * kLanes + lane] = line[j];
    }
  }
  const vi mask = i_set((1 << width) - 1);
  const int pairs_a_word = 16 / width;
  int32_t* out = panel->pairs;
  for (int64_t at = 0; at < row_bytes; at += 4) {
    uint32_t words[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) memcpy(&words[lane], rows[lane] + at, 4);
    const vi v = i_load(words);
    for (int pair = 0; pair < pairs_a_word; ++pair, out += kLanes) {
      const vi low = i_and(i_shift_right(v, 2 * width * pair), mask);
      const vi high = i_and(i_shift_right(v, 2 * width * pair + width), mask);
      i_store(out, i_or(low, i_shift_left(high, 16)));
    }
  }
}

/// P panels times X activation rows from `r` on. What is done for one pair of rows depends on neither P nor X.
template <int P, int X, int Pairs>
static void affine_panel_tile(const Panel* panels, const AffineWeight* w, const QuantizedRows* x, int64_t r,
                              int64_t first, float* y, int64_t y_stride) {
  const int64_t groups = w->columns / w->group, units_a_group = w->group / (2 * Pairs);
  const int32_t* pairs[P];
  const int32_t* q[X];  // a pointer a row, and one offset for all: else compilers keep an address for every load
  const float *units[X], *sums[X];
  vf acc[P][X];
#pragma GCC unroll 16
  for (int b = 0; b < X; ++b) {
    q[b] = (const int32_t*)(x->q + (r + b) * x->stride);
    units[b] = x->scales + (r + b) * x->units;
    sums[b] = x->sums + (r + b) * x->groups;
  }
#pragma GCC unroll 4
  for (int a = 0; a < P; ++a) {
    pairs[a] = panels[a].pairs;
#pragma GCC unroll 16
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  int64_t u = 0;
  for (int64_t g = 0; g < groups; ++g) {
    vf scale[P];
#pragma GCC unroll 4
    for (int a = 0; a < P; ++a) scale[a] = f_load(panels[a].scales + g * kLanes);
    for (const int64_t end = u + units_a_group; u < end; ++u) {
      vs sum[P][X];
#pragma GCC unroll 4
      for (int a = 0; a < P; ++a) {
#pragma GCC unroll 16
        for (int b = 0; b < X; ++b) sum[a][b] = s_zero();
      }
#pragma GCC unroll 16
      for (int pair = 0; pair < Pairs; ++pair) {
        vi weight[P];
#pragma GCC unroll 4
        for (int a = 0; a < P; ++a) weight[a] = i_load(pairs[a] + pair * kLanes);
#pragma GCC unroll 16
        for (int b = 0; b < X; ++b) {
          const vi v = i_set(q[b][u * Pairs + pair]);
#pragma GCC unroll 4
          for (int a = 0; a < P; ++a) sum[a][b] = h_multiply_add(sum[a][b], weight[a], v);
        }
      }
#pragma GCC unroll 16
      for (int b = 0; b < X; ++b) {
        const vf unit = f_set(units[b][u]);
#pragma GCC unroll 4
        for (int a = 0; a < P; ++a) acc[a][b] = f_fma(f_from_sums(sum[a][b]), f_mul(scale[a], unit), acc[a][b]);
      }
#pragma GCC unroll 4
      for (int a = 0; a < P; ++a) pairs[a] += Pairs * kLanes;
    }
#pragma GCC unroll 4
    for (int a = 0; a < P; ++a) {
      const vf bias = f_load(panels[a].biases + g * kLanes);
#pragma GCC unroll 16
      for (int b = 0; b < X; ++b) acc[a][b] = f_fma(bias, f_set(sums[b][g]), acc[a][b]);
    }
  }
  for (int a = 0; a < P; ++a) {
    const int64_t row = first + a * kLanes, left = w->rows - row;
    for (int b = 0; b < X; ++b) {
      float* to = y + (r + b) * y_stride + row;
      if (left >= kLanes) {
        f_store(to, acc[a][b]);
      } else if (left > 0) {
        f_store_n(to, acc[a][b], (int)left);
      }
    }
  }
}

template <int P, int Pairs>
static inline void affine_panel_rows(const Panel* panels, const AffineWeight* w, const QuantizedRows* x, int64_t n,
                                     int64_t first, float* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kTokens <= n; r += kTokens) affine_panel_tile<P, kTokens, Pairs>(panels, w, x, r, first, y, y_stride);
  for (; r + 2 <= n; r += 2) affine_panel_tile<P, 2, Pairs>(panels, w, x, r, first, y, y_stride);
  for (; r < n; ++r) affine_panel_tile<P, 1, Pairs>(panels, w, x, r, first, y, y_stride);
}

template <int P>
static inline void affine_panel_units(const Panel* panels, const AffineWeight* w, const QuantizedRows* x, int64_t n,
                                      int64_t first, float* y, int64_t y_stride) {
  if (unit_of(w->group, 0) == 32) {
    affine_panel_rows<P, 16>(panels, w, x, n, first, y, y_stride);
  } else {
    affine_panel_rows<P, 8>(panels, w, x, n, first, y, y_stride);
  }
}

[[maybe_unused]] static void affine_panels(const AffineWeight* w, const QuantizedRows* x, int64_t n,
                                           int64_t begin_panel, int64_t end_panel, float* y, int64_t y_stride,
                                           void* scratch) {
  const int64_t groups = w->columns / w->group;
  Panel panels[kPanels];
  uint8_t* at = (uint8_t*)scratch;
  for (int a = 0; a < kPanels; ++a) {
    panels[a].pairs = (int32_t*)at;
    at += w->columns / 2 * kLanes * 4;
    panels[a].scales = (float*)at;
    at += groups * kLanes * 4;
    panels[a].biases = (float*)at;
    at += groups * kLanes * 4;
  }
  int64_t panel = begin_panel;
  while (panel < end_panel) {
    const int count = end_panel - panel < kPanels ? 1 : kPanels;
    for (int a = 0; a < count; ++a) unpack_panel(w, (panel + a) * kLanes, &panels[a], at);
    if (count == kPanels) {
      affine_panel_units<kPanels>(panels, w, x, n, panel * kLanes, y, y_stride);
    } else {
      affine_panel_units<1>(panels, w, x, n, panel * kLanes, y, y_stride);
    }
    panel += count;
  }
}
