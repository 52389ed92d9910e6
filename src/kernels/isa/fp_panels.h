// Prefill with weights of four and eight bit floats: panels of them become floats, which are then multiplied as such.

static const float kFp4Values[16] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6, -0.0F, -0.5F, -1, -1.5F, -2, -3, -4, -6};

/// y = one row of the matrix.
static void unpack_fp_row(const AffineWeight* w, int64_t row, float* y) {
  const uint8_t* packed = w->packed + row * (w->columns * w->bits / 8);
  const int64_t groups = w->columns / w->group;
  for (int64_t g = 0; g < groups; ++g, y += w->group) {
    float scale[kLanes];
    f_store(scale, load_small_scales(w, row * groups + g, 1));
    if (w->bits == 4) {
      for (int64_t k = 0; k < w->group; k += 2, ++packed) {
        y[k] = scale[0] * kFp4Values[*packed & 15];
        y[k + 1] = scale[0] * kFp4Values[*packed >> 4];
      }
    } else {
      for (int64_t k = 0; k < w->group; k += kLanes) f_store(y + k, Fp8Rows{w}.load(row, g * w->group + k, kLanes));
    }
  }
}

static int64_t fp_scratch(int64_t columns) { return (columns * kLanes * 4 + 63) / 64 * 64 + float_scratch(columns); }

static void fp_panels(const AffineWeight* w, const float* x, int64_t n, int64_t begin_panel, int64_t end_panel,
                      float* y, int64_t y_stride, void* scratch) {
  float* floats = (float*)scratch;
  for (int64_t panel = begin_panel; panel < end_panel; ++panel) {
    const int64_t first = panel * kLanes, rows = w->rows - first < kLanes ? w->rows - first : kLanes;
    for (int64_t i = 0; i < rows; ++i) unpack_fp_row(w, first + i, floats + i * w->columns);
    const FloatWeight view = {floats, rows, w->columns, w->columns, kFloat32};
    float_panels(&view, x, n, 0, 1, y + first, y_stride, (uint8_t*)scratch + (w->columns * kLanes * 4 + 63) / 64 * 64);
  }
}
