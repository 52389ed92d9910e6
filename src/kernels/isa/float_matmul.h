// Prefill with weights of floats: panels, sums in float32.

static constexpr int kFloatTokens = kWide ? 12 : 6;

static int64_t float_scratch(int64_t columns) { return 2 * columns * kLanes * 4 + 64; }

static void unpack_float_panel(const FloatWeight* w, int64_t first, float* panel) {
  float line[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t row = first + lane < w->rows ? first + lane : w->rows - 1;
    for (int64_t k = 0; k < w->columns; k += kLanes) {
      const int n = (int)(w->columns - k < kLanes ? w->columns - k : kLanes);
      f_store(line, load_floats(w->data, row * w->stride + k, n, w->type));
      for (int j = 0; j < n; ++j) panel[(k + j) * kLanes + lane] = line[j];
    }
  }
}

/// Panel a holds weight (row first + a * kLanes + lane, column k) at panels[a * panel_size + k * k_stride + lane].
struct FloatPanels {
  const float* data;
  int64_t panel_size, k_stride;
  int64_t rows, columns;
};

template <int P, int X>
static inline void float_panel_tile(const FloatPanels* w, const float* x, int64_t x_stride, int64_t first, float* y,
                                    int64_t y_stride) {
  vf acc[P][X];
  for (int a = 0; a < P; ++a) {
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  for (int64_t k = 0; k < w->columns; ++k) {
    vf weight[P];
    for (int a = 0; a < P; ++a) weight[a] = f_load(w->data + a * w->panel_size + k * w->k_stride);
    for (int b = 0; b < X; ++b) {
      const vf v = f_set(x[b * x_stride + k]);
      for (int a = 0; a < P; ++a) acc[a][b] = f_fma(weight[a], v, acc[a][b]);
    }
  }
  for (int a = 0; a < P; ++a) {
    const int64_t row = first + a * kLanes, left = w->rows - row;
    for (int b = 0; b < X; ++b) {
      float* to = y + b * y_stride + row;
      if (left >= kLanes) {
        f_store(to, acc[a][b]);
      } else if (left > 0) {
        f_store_n(to, acc[a][b], (int)left);
      }
    }
  }
}

template <int P>
static inline void float_panel_rows(const FloatPanels* w, const float* x, int64_t x_stride, int64_t n, int64_t first,
                                    float* y, int64_t y_stride) {
  int64_t r = 0;
  for (; r + kFloatTokens <= n; r += kFloatTokens) {
    float_panel_tile<P, kFloatTokens>(w, x + r * x_stride, x_stride, first, y + r * y_stride, y_stride);
  }
  for (; r + 4 <= n; r += 4) float_panel_tile<P, 4>(w, x + r * x_stride, x_stride, first, y + r * y_stride, y_stride);
  for (; r + 2 <= n; r += 2) float_panel_tile<P, 2>(w, x + r * x_stride, x_stride, first, y + r * y_stride, y_stride);
  for (; r < n; ++r) float_panel_tile<P, 1>(w, x + r * x_stride, x_stride, first, y + r * y_stride, y_stride);
}

static void float_panels(const FloatWeight* w, const float* x, int64_t n, int64_t begin_panel, int64_t end_panel,
                         float* y, int64_t y_stride, void* scratch) {
  float* panels = (float*)scratch;
  const FloatPanels view = {panels, w->columns * kLanes, kLanes, w->rows, w->columns};
  for (int64_t panel = begin_panel; panel < end_panel; panel += 2) {
    const int count = end_panel - panel < 2 ? 1 : 2;
    for (int a = 0; a < count; ++a) unpack_float_panel(w, (panel + a) * kLanes, panels + a * view.panel_size);
    if (count == 2) {
      float_panel_rows<2>(&view, x, w->columns, n, panel * kLanes, y, y_stride);
    } else {
      float_panel_rows<1>(&view, x, w->columns, n, panel * kLanes, y, y_stride);
    }
  }
}
