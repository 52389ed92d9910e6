// Products of floats that may be rounded like float16's: weights to 13 bits and a sign with a scale a row, activations
// to 12 bits and a sign with a scale for each 64 numbers, sums of a unit exact in 32 bits (64 * 8191 * 4095 < 2^31).
// Twice as fast as float32 where 16-bit multiplications are as wide as the vectors.

static constexpr int kShortUnit = 64, kShortPairs = kShortUnit / 2;
static constexpr float kShortWeight = 8191.0F, kShortValue = 4095.0F;

static inline int64_t short_units(int64_t columns) { return (columns + kShortUnit - 1) / kShortUnit; }

static void i16_layout(int64_t columns, I16Rows* rows) {
  rows->units = short_units(columns);
  rows->stride = rows->units * kShortUnit + 32;  // rows a power of two apart would compete for the same cache lines
}

static inline vf load_part(const float* x, int64_t left) {
  return left >= kLanes ? f_load(x) : left > 0 ? f_load_n(x, (int)left) : f_zero();
}

static void i16_row(const float* x, int64_t columns, const I16Rows* out, int64_t row) {
  int16_t* q = out->q + row * out->stride;
  float* scales = out->scales + row * out->units;
  for (int64_t u = 0; u < out->units; ++u) {
    vf v[kShortUnit / kLanes], largest = f_zero(), invalid = f_zero();
    for (int i = 0; i < kShortUnit / kLanes; ++i) {
      const int64_t k = u * kShortUnit + i * kLanes;
      v[i] = load_part(x + k, columns - k);
      largest = f_max(f_abs(v[i]), largest);
      invalid = f_add(invalid, f_sub(v[i], v[i]));
    }
    const float most = f_greatest(largest), limit = most > 1e-33F ? most : 1e-33F;
    const vf inverse = f_set(kShortValue / limit);
    for (int i = 0; i < kShortUnit / kLanes; ++i)
      h_store(q + u * kShortUnit + i * kLanes, i_from_float(f_mul(v[i], inverse)));
    scales[u] = limit * (1.0F / kShortValue) + f_sum(invalid);  // a NaN or an infinity reaches the result
  }
}

/// `kLanes` weight rows: pairs of neighbouring columns, one lane a row, and each row's scale.
struct I16Panel {
  int32_t* pairs;  // [units * 32][kLanes]
  float* scales;   // [kLanes]
};

static inline int64_t short_panel_bytes(int64_t columns) {
  return short_units(columns) * kShortPairs * kLanes * 4 + kLanes * 4;
}

static int64_t short_scratch(int64_t columns) { return kPanels * short_panel_bytes(columns) + 64; }

static inline I16Panel short_panel_at(void* memory, int64_t columns, int64_t index) {
  char* at = (char*)memory + index * short_panel_bytes(columns);
  return {(int32_t*)at, (float*)(at + short_units(columns) * kShortPairs * kLanes * 4)};
}

/// The weight rows from `first` on; past the last one it is repeated.
static void fill_short_panel(const FloatWeight* w, int64_t first, const I16Panel* panel) {
  const int64_t padded = short_units(w->columns) * kShortUnit;
  const auto load = [&](int64_t row, int64_t k) {
    const int64_t left = w->columns - k;
    return left <= 0 ? f_zero()
                     : load_floats(w->data, row * w->stride + k, left < kLanes ? (int)left : kLanes, w->type);
  };
  float inverse[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t row = first + lane < w->rows ? first + lane : w->rows - 1;
    vf largest = f_zero();
    for (int64_t k = 0; k < w->columns; k += kLanes) largest = f_max(f_abs(load(row, k)), largest);
    const float most = f_greatest(largest), limit = most > 1e-33F ? most : 1e-33F;
    inverse[lane] = kShortWeight / limit;
    panel->scales[lane] = limit * (1.0F / kShortWeight);
  }
  for (int64_t k = 0; k < padded; k += 2 * kLanes) {
    vf v[kLanes];
    int16_t line[2 * kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t row = first + lane < w->rows ? first + lane : w->rows - 1;
      h_store(line, i_from_float(f_mul(load(row, k), f_set(inverse[lane]))));
      h_store(line + kLanes, i_from_float(f_mul(load(row, k + kLanes), f_set(inverse[lane]))));
      v[lane] = f_from_bits(i_load(line));
    }
    f_transpose(v);
    for (int a = 0; a < kLanes; ++a) f_store((float*)(panel->pairs + (k / 2 + a) * kLanes), v[a]);
  }
}

/// P panels times X activation rows from `r` on.
template <int P, int X>
static inline void i16_tile(const I16Panel* panels, int64_t units, const I16Rows* x, int64_t r, int64_t first,
                            int64_t rows, const float* bias, float* y, int64_t y_stride) {
  const int32_t *pairs[P], *q[X];
  const float* scales[X];
  vf acc[P][X];
#pragma GCC unroll 16
  for (int b = 0; b < X; ++b) {
    q[b] = (const int32_t*)(x->q + (r + b) * x->stride);
    scales[b] = x->scales + (r + b) * x->units;
  }
#pragma GCC unroll 4
  for (int a = 0; a < P; ++a) {
    pairs[a] = panels[a].pairs;
#pragma GCC unroll 16
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  for (int64_t u = 0; u < units; ++u) {
    vs sum[P][X];
#pragma GCC unroll 4
    for (int a = 0; a < P; ++a) {
#pragma GCC unroll 16
      for (int b = 0; b < X; ++b) sum[a][b] = s_zero();
    }
#pragma GCC unroll 32
    for (int pair = 0; pair < kShortPairs; ++pair) {
      vi weight[P];
#pragma GCC unroll 4
      for (int a = 0; a < P; ++a) weight[a] = i_load(pairs[a] + pair * kLanes);
#pragma GCC unroll 16
      for (int b = 0; b < X; ++b) {
        const vi v = i_set(q[b][u * kShortPairs + pair]);
#pragma GCC unroll 4
        for (int a = 0; a < P; ++a) sum[a][b] = h_multiply_add(sum[a][b], weight[a], v);
      }
    }
#pragma GCC unroll 16
    for (int b = 0; b < X; ++b) {
      const vf scale = f_set(scales[b][u]);
#pragma GCC unroll 4
      for (int a = 0; a < P; ++a) acc[a][b] = f_fma(f_from_sums(sum[a][b]), scale, acc[a][b]);
    }
#pragma GCC unroll 4
    for (int a = 0; a < P; ++a) pairs[a] += kShortPairs * kLanes;
  }
  for (int a = 0; a < P; ++a) {
    const int64_t row = first + a * kLanes, left = rows - row;
    const vf scale = f_load(panels[a].scales), offset = bias ? load_part(bias + row, left) : f_zero();
    for (int b = 0; b < X; ++b) {
      float* to = y + b * y_stride + row;
      const vf value = f_fma(acc[a][b], scale, offset);
      if (left >= kLanes) {
        f_store(to, value);
      } else if (left > 0) {
        f_store_n(to, value, (int)left);
      }
    }
  }
}

template <int P>
static inline void i16_tiles(const I16Panel* panels, int64_t units, const I16Rows* x, int64_t begin, int64_t n,
                             int64_t first, int64_t rows, const float* bias, float* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kTokens <= n; r += kTokens)
    i16_tile<P, kTokens>(panels, units, x, begin + r, first, rows, bias, y + r * y_stride, y_stride);
  for (; r + 2 <= n; r += 2) i16_tile<P, 2>(panels, units, x, begin + r, first, rows, bias, y + r * y_stride, y_stride);
  for (; r < n; ++r) i16_tile<P, 1>(panels, units, x, begin + r, first, rows, bias, y + r * y_stride, y_stride);
}

static void i16_panels(const FloatWeight* w, const float* bias, const I16Rows* x, int64_t n, int64_t begin_panel,
                       int64_t end_panel, float* y, int64_t y_stride, void* scratch) {
  for (int64_t panel = begin_panel; panel < end_panel; panel += kPanels) {
    const int count = end_panel - panel < kPanels ? 1 : kPanels;
    I16Panel panels[kPanels];
    for (int a = 0; a < count; ++a) {
      panels[a] = short_panel_at(scratch, w->columns, a);
      fill_short_panel(w, (panel + a) * kLanes, &panels[a]);
    }
    if (count == kPanels) {
      i16_tiles<kPanels>(panels, x->units, x, 0, n, panel * kLanes, w->rows, bias, y, y_stride);
    } else {
      i16_tiles<1>(panels, x->units, x, 0, n, panel * kLanes, w->rows, bias, y, y_stride);
    }
  }
}

// Attention of whole sequences by the same products.

static constexpr int64_t kShortQueries = 24;

static inline int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static int64_t short_attention_scratch(int64_t tokens, int64_t dim) {
  const int64_t key_panels = up_to(tokens, 2 * kLanes) / kLanes, value_panels = up_to(dim, 2 * kLanes) / kLanes;
  const int64_t keys = key_panels * short_panel_bytes(dim), values = value_panels * short_panel_bytes(tokens);
  const int64_t width = up_to(tokens, 2 * kLanes);
  const int64_t q = up_to(dim, kShortUnit) + 32, p = up_to(tokens, kShortUnit) + 32;
  return keys + values +
         kShortQueries * (width * 4 + (q + p) * 2 + (short_units(dim) + short_units(tokens)) * 4 + dim * 4) + 512;
}

/// Values as panels of their dimensions: pairs of neighbouring tokens, one lane a dimension.
static void fill_value_panel(const HeadSpan* v, int64_t dim, int64_t first, const I16Panel* panel) {
  const float* data = (const float*)v->data;
  const int left = (int)(dim - first < kLanes ? dim - first : kLanes);
  vf largest = f_set(1e-33F);
  for (int64_t t = 0; t < v->tokens; ++t)
    largest = f_max(f_abs(load_part(data + t * v->stride + first, left)), largest);
  const vf inverse = f_div(f_set(kShortWeight), largest);
  f_store(panel->scales, f_mul(largest, f_set(1.0F / kShortWeight)));
  for (int64_t t = 0; t < short_units(v->tokens) * kShortUnit; t += 2) {
    const vi low =
        t < v->tokens ? i_from_float(f_mul(load_part(data + t * v->stride + first, left), inverse)) : i_zero();
    const vi high = t + 1 < v->tokens
                        ? i_from_float(f_mul(load_part(data + (t + 1) * v->stride + first, left), inverse))
                        : i_zero();
    i_store(panel->pairs + t / 2 * kLanes, i_or(i_and(low, i_set(0xffff)), i_shift_left(high, 16)));
  }
}

static void short_attention(const HeadSpan* k, const HeadSpan* v, int64_t dim, const float* q, int64_t q_stride,
                            int64_t n, float scale, float* y, int64_t y_stride, void* scratch) {
  const int64_t tokens = k->tokens, width = up_to(tokens, 2 * kLanes);
  const int64_t key_panels = width / kLanes, value_panels = up_to(dim, 2 * kLanes) / kLanes;
  char* at = (char*)scratch;
  char *keys = at, *values = keys + key_panels * short_panel_bytes(dim);
  float* scores = (float*)(values + value_panels * short_panel_bytes(tokens));
  float* scaled = scores + kShortQueries * width;
  I16Rows queries, weights;
  i16_layout(dim, &queries);
  i16_layout(tokens, &weights);
  queries.scales = scaled + kShortQueries * dim;
  weights.scales = queries.scales + kShortQueries * queries.units;
  queries.q = (int16_t*)(weights.scales + kShortQueries * weights.units);
  weights.q = queries.q + kShortQueries * queries.stride;

  const FloatWeight key_rows = {k->data, tokens, dim, k->stride, kFloat32};
  for (int64_t p = 0; p < key_panels; ++p) {
    const I16Panel panel = short_panel_at(keys, dim, p);
    fill_short_panel(&key_rows, p * kLanes, &panel);
  }
  for (int64_t p = 0; p < value_panels; ++p) {
    const I16Panel panel = short_panel_at(values, tokens, p);
    fill_value_panel(v, dim, p * kLanes < dim ? p * kLanes : dim - 1, &panel);
  }
  for (int64_t r = 0; r < n; r += kShortQueries) {
    const int64_t count = n - r < kShortQueries ? n - r : kShortQueries;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t d = 0; d < dim; ++d) scaled[d] = q[(r + i) * q_stride + d] * scale;
      i16_row(scaled, dim, &queries, i);
    }
    for (int64_t p = 0; p < key_panels; p += 2) {
      const I16Panel pair[2] = {short_panel_at(keys, dim, p), short_panel_at(keys, dim, p + 1)};
      if (kPanels == 2) {
        i16_tiles<2>(pair, queries.units, &queries, 0, count, p * kLanes, width, 0, scores, width);
      } else {
        i16_tiles<1>(pair, queries.units, &queries, 0, count, p * kLanes, width, 0, scores, width);
        i16_tiles<1>(pair + 1, queries.units, &queries, 0, count, (p + 1) * kLanes, width, 0, scores, width);
      }
    }
    float sums[kShortQueries];
    for (int64_t i = 0; i < count; ++i) {
      float* row = scores + i * width;
      for (int64_t t = tokens; t < width; ++t) row[t] = kMasked;
      float most;
      score_weights(row, width, &most, &sums[i]);
      i16_row(row, tokens, &weights, i);
    }
    for (int64_t p = 0; p < value_panels && p * kLanes < dim; p += kPanels) {
      const I16Panel pair[2] = {short_panel_at(values, tokens, p), short_panel_at(values, tokens, p + 1)};
      i16_tiles<kPanels>(pair, weights.units, &weights, 0, count, p * kLanes, dim, 0, y + r * y_stride, y_stride);
    }
    for (int64_t i = 0; i < count; ++i) {
      float* row = y + (r + i) * y_stride;
      const vf inverse = f_set(1.0F / sums[i]);
      int64_t d = 0;
      for (; d + kLanes <= dim; d += kLanes) f_store(row + d, f_mul(f_load(row + d), inverse));
      for (; d < dim; ++d) row[d] *= 1.0F / sums[i];
    }
  }
}
