// Attention: scores of keys, their weights, weighted sums of values, and the joining of parts. What is done for one
// query, and in which order, depends on no other.

/// Lanes whose number has the bit `Step`.
template <int Step>
static inline vi odd_lanes() {
  int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i & Step ? -1 : 0;
  return i_load(lanes);
}
static inline vf f_mix(vi mask, vf a, vf b) { return (vf)((~mask & (vi)a) | (mask & (vi)b)); }

/// v[0]'s lane i becomes the sum of v[i]: two vectors become one whose odd lanes are the second's.
template <int Step = 1>
static inline vf f_sums(vf* v) {
  if constexpr (Step == kLanes) {
    return v[0];
  } else {
    const vi odd = odd_lanes<Step>();
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / (2 * Step); ++i) {
      const vf a = v[2 * i], b = v[2 * i + 1];
      v[i] = f_add(f_mix(odd, a, b), f_exchange(f_mix(odd, b, a), Step));
    }
    return f_sums<2 * Step>(v);
  }
}

/// v[i]'s lane j and v[j]'s lane i change places.
template <int Step = 1>
static inline void f_transpose(vf* v) {
  if constexpr (Step < kLanes) {
    const vi odd = odd_lanes<Step>();
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & Step) continue;
      const vf a = v[i], b = v[i + Step];
      v[i] = f_mix(odd, a, f_exchange(b, Step));
      v[i + Step] = f_mix(odd, f_exchange(a, Step), b);
    }
    f_transpose<2 * Step>(v);
  }
}

// Bytes: far enough for memory to answer, near enough that what a thread asks for past its chunk is little.
static constexpr int64_t kAhead = 4096;

/// The products of one query with `count` keys from row `first` on, at most kLanes.
template <FloatType Type, bool Whole>
static inline vf key_tile(const HeadSpan* k, int64_t first, int count, int64_t dim, const float* q) {
  vf acc[kLanes];
#pragma GCC unroll 16
  for (int a = 0; a < kLanes; ++a) acc[a] = f_zero();
  for (int64_t d = 0; d < dim; d += kLanes) {
    const int n = (int)(dim - d < kLanes ? dim - d : kLanes);
    const vf v = n == kLanes ? f_load(q + d) : f_load_n(q + d, n);
#pragma GCC unroll 16
    for (int a = 0; a < kLanes; ++a) {
      const int64_t row = first + (Whole || a < count ? a : count - 1);
      acc[a] = f_fma(load_floats(k->data, row * k->stride + d, n, Type), v, acc[a]);
    }
  }
  return f_sums(acc);
}

/// Asks for the bytes that come `kAhead` behind those of `tokens` tokens from `first` on, where tokens lie side by
/// side.
static inline void fetch_ahead(const HeadSpan* rows, int64_t first, int64_t tokens) {
  const int64_t item = rows->type == kFloat32 ? 4 : 2;
  const char* from = (const char*)rows->data + first * rows->stride * item + kAhead;
  for (int64_t i = 0; i < tokens * rows->stride * item; i += 64) __builtin_prefetch(from + i, 0, 3);
}

template <FloatType Type>
static inline void key_rows_of(const HeadSpan* k, int64_t dim, const float* q, int64_t n, float* s, int64_t s_stride) {
  int64_t t = 0;
  for (; t + kLanes <= k->tokens; t += kLanes) {
    fetch_ahead(k, t, kLanes);
    for (int64_t r = 0; r < n; ++r) f_store(s + r * s_stride + t, key_tile<Type, true>(k, t, kLanes, dim, q + r * dim));
  }
  if (t == k->tokens) return;
  const int left = (int)(k->tokens - t);
  for (int64_t r = 0; r < n; ++r) f_store(s + r * s_stride + t, key_tile<Type, false>(k, t, left, dim, q + r * dim));
}

static void key_rows(const HeadSpan* k, int64_t dim, const float* q, int64_t n, float* s, int64_t s_stride) {
  if (k->type == kFloat32) return key_rows_of<kFloat32>(k, dim, q, n, s, s_stride);
  if (k->type == kFloat16) return key_rows_of<kFloat16>(k, dim, q, n, s, s_stride);
  return key_rows_of<kBFloat16>(k, dim, q, n, s, s_stride);
}

/// Queries at a time: two vectors of results for each fill the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int kQueries = 12;
#else
static constexpr int kQueries = 6;
#endif

static int64_t key_scratch(int64_t dim) { return (dim + kLanes) * 2 * kLanes * 4; }

/// Keys [first, first + 2 * kLanes) column by column: panel[d][2 * kLanes]; past the last one it is repeated.
static inline void turn_keys(const HeadSpan* k, int64_t first, int64_t dim, float* panel) {
  for (int64_t d = 0; d < dim; d += kLanes) {
    const int n = (int)(dim - d < kLanes ? dim - d : kLanes);
    for (int half = 0; half < 2; ++half) {
      vf v[kLanes];
#pragma GCC unroll 16
      for (int a = 0; a < kLanes; ++a) {
        const int64_t row = first + half * kLanes + a;
        v[a] = load_floats(k->data, (row < k->tokens ? row : k->tokens - 1) * k->stride + d, n, k->type);
      }
      f_transpose(v);
#pragma GCC unroll 16
      for (int a = 0; a < kLanes; ++a) f_store(panel + ((d + a) * 2 + half) * kLanes, v[a]);
    }
  }
}

template <int X>
static inline void panel_tile(const float* panel, int64_t dim, const float* q, float* s, int64_t s_stride) {
  vf low[X], high[X];
  for (int b = 0; b < X; ++b) low[b] = high[b] = f_zero();
  for (int64_t d = 0; d < dim; ++d) {
    const vf first = f_load(panel + 2 * d * kLanes), second = f_load(panel + (2 * d + 1) * kLanes);
    for (int b = 0; b < X; ++b) {
      const vf v = f_set(q[b * dim + d]);
      low[b] = f_fma(first, v, low[b]);
      high[b] = f_fma(second, v, high[b]);
    }
  }
  for (int b = 0; b < X; ++b) {
    f_store(s + b * s_stride, low[b]);
    f_store(s + b * s_stride + kLanes, high[b]);
  }
}

static void key_panels(const HeadSpan* k, int64_t dim, const float* q, int64_t n, float* s, int64_t s_stride,
                       void* scratch) {
  float* panel = (float*)scratch;
  for (int64_t t = 0; t < k->tokens; t += 2 * kLanes) {
    turn_keys(k, t, dim, panel);
    int64_t r = 0;
    for (; r + kQueries <= n; r += kQueries)
      panel_tile<kQueries>(panel, dim, q + r * dim, s + r * s_stride + t, s_stride);
    for (; r + 2 <= n; r += 2) panel_tile<2>(panel, dim, q + r * dim, s + r * s_stride + t, s_stride);
    for (; r < n; ++r) panel_tile<1>(panel, dim, q + r * dim, s + r * s_stride + t, s_stride);
  }
}

static void soft_cap(float* s, int64_t n, float cap) {
  const vf high = f_set(cap), inverse = f_set(1.0F / cap);
  for (int64_t i = 0; i < n; i += kLanes) f_store(s + i, f_mul(high, f_tanh(f_mul(f_load(s + i), inverse))));
}

static void score_weights(float* s, int64_t n, float* most, float* sum) {
  vf largest = f_set(kNothingSeen);
  for (int64_t i = 0; i < n; i += kLanes) largest = f_max(largest, f_load(s + i));
  const float top = f_greatest(largest);
  vf all = f_zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    const vf e = f_exp_below_zero(f_sub(f_load(s + i), f_set(top)));
    f_store(s + i, e);
    all = f_add(all, e);
  }
  *most = top;
  *sum = f_sum(all);
}

/// P vectors of results for each of X queries; of the last vector `last` lanes are there.
template <FloatType Type, int P, int X, bool Whole>
static inline void value_tile(const HeadSpan* v, int64_t d, int last, const float* p, int64_t p_stride, float* y,
                              int64_t y_stride) {
  vf acc[P][X];
  for (int a = 0; a < P; ++a) {
    for (int b = 0; b < X; ++b) acc[a][b] = f_zero();
  }
  for (int64_t t = 0; t < v->tokens; ++t) {
    if (P == 4 && X <= 3) fetch_ahead(v, t, 1);
    vf value[P];
    for (int a = 0; a < P; ++a) {
      value[a] = load_floats(v->data, t * v->stride + d + a * kLanes, Whole || a + 1 < P ? kLanes : last, Type);
    }
    for (int b = 0; b < X; ++b) {
      const vf weight = f_set(p[b * p_stride + t]);
      for (int a = 0; a < P; ++a) acc[a][b] = f_fma(value[a], weight, acc[a][b]);
    }
  }
  for (int a = 0; a < P; ++a) {
    for (int b = 0; b < X; ++b) {
      float* to = y + b * y_stride + d + a * kLanes;
      if (Whole || a + 1 < P) {
        f_store(to, acc[a][b]);
      } else {
        f_store_n(to, acc[a][b], last);
      }
    }
  }
}

template <FloatType Type, int P, bool Whole>
static inline void value_columns(const HeadSpan* v, int64_t d, int last, const float* p, int64_t p_stride, int64_t n,
                                 float* y, int64_t y_stride) {
  int64_t r = 0;
  if constexpr (P <= 2) {
    for (; r + kQueries <= n; r += kQueries) {
      value_tile<Type, P, kQueries, Whole>(v, d, last, p + r * p_stride, p_stride, y + r * y_stride, y_stride);
    }
  }
  for (; r + 3 <= n; r += 3)
    value_tile<Type, P, 3, Whole>(v, d, last, p + r * p_stride, p_stride, y + r * y_stride, y_stride);
  for (; r < n; ++r) value_tile<Type, P, 1, Whole>(v, d, last, p + r * p_stride, p_stride, y + r * y_stride, y_stride);
}

template <FloatType Type>
static inline void value_rows_of(const HeadSpan* v, int64_t dim, const float* p, int64_t p_stride, int64_t n, float* y,
                                 int64_t y_stride) {
  int64_t d = 0;
  // Few queries: longer pieces of each value, so that memory is read along; many: the registers for the queries.
  if (n < kQueries) {
    for (; d + 4 * kLanes <= dim; d += 4 * kLanes) value_columns<Type, 4, true>(v, d, 0, p, p_stride, n, y, y_stride);
  }
  for (; d + 2 * kLanes <= dim; d += 2 * kLanes) value_columns<Type, 2, true>(v, d, 0, p, p_stride, n, y, y_stride);
  for (; d + kLanes <= dim; d += kLanes) value_columns<Type, 1, true>(v, d, 0, p, p_stride, n, y, y_stride);
  if (d < dim) value_columns<Type, 1, false>(v, d, (int)(dim - d), p, p_stride, n, y, y_stride);
}

static void value_rows(const HeadSpan* v, int64_t dim, const float* p, int64_t p_stride, int64_t n, float* y,
                       int64_t y_stride) {
  if (v->type == kFloat32) return value_rows_of<kFloat32>(v, dim, p, p_stride, n, y, y_stride);
  if (v->type == kFloat16) return value_rows_of<kFloat16>(v, dim, p, p_stride, n, y, y_stride);
  return value_rows_of<kBFloat16>(v, dim, p, p_stride, n, y, y_stride);
}

static inline float exp_below_zero(float x) {
  float lanes[kLanes];
  f_store(lanes, f_exp_below_zero(f_set(x)));
  return lanes[0];
}

static void join_parts(float* most, float* sum, float* y, float part_most, float part_sum, const float* part,
                       int64_t n) {
  const float top = part_most > *most ? part_most : *most;
  const float kept = exp_below_zero(*most - top), added = exp_below_zero(part_most - top);
  *most = top;
  *sum = *sum * kept + part_sum * added;
  const vf a = f_set(kept), b = f_set(added);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(y + i, f_fma(f_load(y + i), a, f_mul(f_load(part + i), b)));
  if (i < n) {
    const int left = (int)(n - i);
    f_store_n(y + i, f_fma(f_load_n(y + i, left), a, f_mul(f_load_n(part + i, left), b)), left);
  }
}
