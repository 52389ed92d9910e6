// Norms, rotations and activations.

static void rms_norm(const float* x, const float* weight, float eps, int64_t columns, float* y) {
  vf sum = f_zero();
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
    const vf v = f_load(x + k);
    sum = f_fma(v, v, sum);
  }
  if (k < columns) {
    const vf v = f_load_n(x + k, (int)(columns - k));
    sum = f_fma(v, v, sum);
  }
  const vf factor = f_set(1.0F / __builtin_sqrtf(f_sum(sum) / (float)columns + eps));
  for (k = 0; k + kLanes <= columns; k += kLanes) {
    f_store(y + k, f_mul(f_mul(f_load(x + k), factor), f_load(weight + k)));
  }
  if (k < columns) {
    const int n = (int)(columns - k);
    f_store_n(y + k, f_mul(f_mul(f_load_n(x + k, n), factor), f_load_n(weight + k, n)), n);
  }
}

static void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t columns, float* y) {
  const auto load = [&](const float* from, int64_t k) {
    return columns - k < kLanes ? f_load_n(from + k, (int)(columns - k)) : f_load(from + k);
  };
  vf sum = f_zero(), squares = f_zero();
  for (int64_t k = 0; k < columns; k += kLanes) sum = f_add(sum, load(x, k));
  const vf mean = f_set(f_sum(sum) / (float)columns);
  for (int64_t k = 0; k < columns; k += kLanes) {
    vf v = f_sub(load(x, k), mean);
    if (columns - k < kLanes) {
      float lanes[kLanes];
      f_store(lanes, v);
      v = f_load_n(lanes, (int)(columns - k));
    }
    squares = f_fma(v, v, squares);
  }
  const vf factor = f_set(1.0F / __builtin_sqrtf(f_sum(squares) / (float)columns + eps));
  for (int64_t k = 0; k < columns; k += kLanes) {
    vf v = f_mul(f_sub(load(x, k), mean), factor);
    if (weight) v = f_mul(v, load(weight, k));
    if (bias) v = f_add(v, load(bias, k));
    if (columns - k < kLanes) {
      f_store_n(y + k, v, (int)(columns - k));
    } else {
      f_store(y + k, v);
    }
  }
}

static void rotate(float* x, const float* cosines, const float* sines, int64_t pairs, bool traditional) {
  const auto load = [](const float* from, int n) { return n == kLanes ? f_load(from) : f_load_n(from, n); };
  const auto store = [](float* to, vf v, int n) { n == kLanes ? f_store(to, v) : f_store_n(to, v, n); };
  const int64_t count = traditional ? 2 * pairs : pairs;
  for (int64_t i = 0; i < count; i += kLanes) {
    const int n = (int)(count - i < kLanes ? count - i : kLanes);
    const vf a = load(x + i, n), b = traditional ? f_exchange(a, 1) : load(x + pairs + i, n);
    store(x + i, f_fma(a, load(cosines + i, n), f_mul(b, load(sines + i, n))), n);
    if (!traditional) {
      store(x + pairs + i, f_fma(b, load(cosines + pairs + i, n), f_mul(a, load(sines + pairs + i, n))), n);
    }
  }
}

/// e^x to 2 ulp for x in [-87, 88].
static inline vf f_exp_within(vf clamped) {
  const vi n = i_from_float(f_mul(clamped, f_set(1.44269504F)));
  const vf steps = f_from_int(n);
  vf r = f_fma(steps, f_set(-0.693359375F), clamped);
  r = f_fma(steps, f_set(2.12194440e-4F), r);
  vf p = f_set(1.9875691500e-4F);
  p = f_fma(p, r, f_set(1.3981999507e-3F));
  p = f_fma(p, r, f_set(8.3334519073e-3F));
  p = f_fma(p, r, f_set(4.1665795894e-2F));
  p = f_fma(p, r, f_set(1.6666665459e-1F));
  p = f_fma(p, r, f_set(5.0000001201e-1F));
  p = f_add(f_fma(p, f_mul(r, r), r), f_set(1.0F));
  return f_mul(p, f_from_bits(i_shift_left(i_add(n, i_set(127)), 23)));
}

/// e^x, limited to e^±87; NaN and infinities come through as NaN.
static inline vf f_exp(vf x) { return f_add(f_exp_within(f_min(f_set(88.0F), f_max(f_set(-87.0F), x))), f_sub(x, x)); }

/// e^x for x <= 0, exactly 0 from -87 down: what is masked weighs nothing. NaN stays.
static inline vf f_exp_below_zero(vf x) {
  const vf value = f_sub(f_exp_within(f_max(x, f_set(-87.0F))), f_exp_within(f_set(-87.0F)));
  return f_add(value, f_sub(x, x));
}

static void softmax(float* s, int64_t n) {
  const int left = (int)(n % kLanes);
  const int64_t whole = n - left;
  float most = left > 0 ? s[whole] : s[0];
  for (int64_t i = whole; i < n; ++i) most = s[i] > most ? s[i] : most;
  vf largest = f_set(most);
  for (int64_t i = 0; i < whole; i += kLanes) largest = f_max(largest, f_load(s + i));
  const vf top = f_set(f_greatest(largest));
  vf sum = f_zero();
  for (int64_t i = 0; i < whole; i += kLanes) {
    const vf e = f_exp_below_zero(f_sub(f_load(s + i), top));
    f_store(s + i, e);
    sum = f_add(sum, e);
  }
  if (left > 0) {
    float tail[kLanes];
    f_store(tail, f_exp_below_zero(f_sub(f_load_n(s + whole, left), top)));
    for (int i = left; i < kLanes; ++i) tail[i] = 0;
    sum = f_add(sum, f_load(tail));
    f_store_n(s + whole, f_load(tail), left);
  }
  const vf inverse = f_set(1.0F / f_sum(sum));
  for (int64_t i = 0; i < whole; i += kLanes) f_store(s + i, f_mul(f_load(s + i), inverse));
  if (left > 0) f_store_n(s + whole, f_mul(f_load_n(s + whole, left), inverse), left);
}

static inline vf f_tanh(vf x) {
  const vf limited = f_min(f_set(9.0F), f_max(f_set(-9.0F), x));
  const vf e = f_exp(f_add(limited, limited));
  return f_add(f_div(f_sub(e, f_set(1.0F)), f_add(e, f_set(1.0F))), f_sub(x, x));
}

/// Abramowitz and Stegun 7.1.26, to 1.5e-7.
static inline vf f_erf(vf x) {
  const vf a = f_abs(x);
  const vf t = f_div(f_set(1.0F), f_fma(a, f_set(0.3275911F), f_set(1.0F)));
  vf p = f_set(1.061405429F);
  p = f_fma(p, t, f_set(-1.453152027F));
  p = f_fma(p, t, f_set(1.421413741F));
  p = f_fma(p, t, f_set(-0.284496736F));
  p = f_fma(p, t, f_set(0.254829592F));
  const vf limited = f_min(a, f_set(9.0F));
  const vf positive = f_sub(f_set(1.0F), f_mul(f_mul(p, t), f_exp(f_sub(f_zero(), f_mul(limited, limited)))));
  return f_div(f_mul(positive, x), f_max(a, f_set(1e-30F)));
}

static inline vf f_activate(vf x, int activation) {
  if (activation == 0) return f_div(x, f_add(f_set(1.0F), f_exp(f_sub(f_zero(), x))));
  const vf half = f_mul(x, f_set(0.5F));
  if (activation == 1) return f_mul(half, f_add(f_set(1.0F), f_erf(f_mul(x, f_set(0.70710678F)))));
  const vf inner = f_mul(f_set(0.79788456F), f_fma(f_mul(f_set(0.044715F), f_mul(x, x)), x, x));
  return f_mul(half, f_add(f_set(1.0F), f_tanh(inner)));
}

static void gated(const float* gate, const float* up, int64_t n, int activation, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(y + i, f_mul(f_activate(f_load(gate + i), activation), f_load(up + i)));
  if (i < n) {
    const int left = (int)(n - i);
    f_store_n(y + i, f_mul(f_activate(f_load_n(gate + i, left), activation), f_load_n(up + i, left)), left);
  }
}

static void activate(const float* x, int64_t n, int activation, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(y + i, f_activate(f_load(x + i), activation));
  if (i < n) f_store_n(y + i, f_activate(f_load_n(x + i, (int)(n - i)), activation), (int)(n - i));
}

static void add(const float* x, float scale, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f_store(y + i, f_fma(f_load(x + i), f_set(scale), f_load(y + i)));
  for (; i < n; ++i) y[i] += x[i] * scale;
}
