// The second product of attention.

static void weighted_rows(const float* p, int64_t p_stride, int64_t n, const float* v, int64_t v_stride, int64_t tokens,
                          int64_t columns, int64_t begin, int64_t end, float* y, int64_t y_stride) {
  // v's rows are panels as they lie; only what is left at the end of a row is copied into one.
  int64_t d = begin;
  for (; d + 2 * kLanes <= end; d += 2 * kLanes) {
    const FloatPanels view = {v + d, kLanes, v_stride, columns, tokens};
    float_panel_rows<2>(&view, p, p_stride, n, d, y, y_stride);
  }
  for (; d + kLanes <= end; d += kLanes) {
    const FloatPanels view = {v + d, kLanes, v_stride, columns, tokens};
    float_panel_rows<1>(&view, p, p_stride, n, d, y, y_stride);
  }
  for (; d < end; ++d) {
    for (int64_t r = 0; r < n; ++r) {
      float sum = 0;
      for (int64_t t = 0; t < tokens; ++t) sum += p[r * p_stride + t] * v[t * v_stride + d];
      y[r * y_stride + d] = sum;
    }
  }
}
