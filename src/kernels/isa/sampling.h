// Passes over a row of logits.

/// `left` floats and as many of `filler` as fill a vector.
static inline vf f_load_filled(const float* p, int left, float filler) {
  float t[kLanes];
  f_store(t, f_set(filler));
  memcpy(t, p, (size_t)left * sizeof(float));
  return f_load(t);
}

static float row_largest(const float* x, int64_t n) {
  const int left = (int)(n % kLanes);
  const int64_t whole = n - left;
  const vf last = f_load_filled(x + whole, left, -__builtin_inff());
  vf most = last, poison = f_zero();
  // A maximum whose second operand is a NaN is that NaN, on every instruction set; the outer one drops it again.
  for (int64_t i = 0; i < whole; i += kLanes) {
    const vf v = f_load(x + i);
    most = f_max(most, v);
    poison = f_add(poison, f_min(f_zero(), f_max(f_zero(), v)));
  }
  poison = f_add(poison, f_min(f_zero(), f_max(f_zero(), last)));
  return f_greatest(most) + f_sum(poison);
}

static float row_weights(const float* x, int64_t n, float largest, float scale, float* w) {
  const vf top = f_set(largest), factor = f_set(scale), floor = f_set(-87.0F), least = f_exp_within(floor);
  const int left = (int)(n % kLanes);
  const int64_t whole = n - left;
  vf sum = f_zero();
  for (int64_t i = 0; i < whole; i += kLanes) {
    const vf below = f_mul(f_sub(f_load(x + i), top), factor);
    const vf e = f_sub(f_exp_within(f_max(floor, below)), least);
    f_store(w + i, e);
    sum = f_add(sum, e);
  }
  if (left > 0) {
    const vf below = f_mul(f_sub(f_load_filled(x + whole, left, -__builtin_inff()), top), factor);
    const vf e = f_sub(f_exp_within(f_max(floor, below)), least);
    f_store_n(w + whole, e, left);
    sum = f_add(sum, e);
  }
  return f_sum(sum);
}

static inline vf f_add_where_at_least(vf sum, vf x, vf threshold, vf w) {
#ifdef __AVX512F__
  return _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(x, threshold, _CMP_GE_OQ), sum, w);
#else
  return f_add(sum, (vf)((vi)(x >= threshold) & (vi)w));
#endif
}

static void row_masses(const float* x, const float* w, int64_t n, const float* thresholds, float* masses) {
  const int left = (int)(n % kLanes);
  const int64_t whole = n - left;
  const vf one = f_set(1.0F);
  vf t[kThresholds], sum[kThresholds];
  for (int j = 0; j < kThresholds; ++j) {
    t[j] = f_set(thresholds[j]);
    sum[j] = f_zero();
  }
  for (int64_t i = 0; i < whole; i += kLanes) {
    const vf v = f_load(x + i), weight = w ? f_load(w + i) : one;
    for (int j = 0; j < kThresholds; ++j) sum[j] = f_add_where_at_least(sum[j], v, t[j], weight);
  }
  if (left > 0) {
    const vf v = f_load_filled(x + whole, left, -__builtin_inff());
    const vf weight = w ? f_load_n(w + whole, left) : one;
    for (int j = 0; j < kThresholds; ++j) sum[j] = f_add_where_at_least(sum[j], v, t[j], weight);
  }
  for (int j = 0; j < kThresholds; ++j) masses[j] = f_sum(sum[j]);
}

#ifdef __AVX512F__
static inline uint32_t f_in_range(vf v, vf low, vf high) {
  return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, low, _CMP_GE_OQ), v, high, _CMP_LT_OQ);
}
/// The lanes that `chosen` names, from lane 0 on.
static inline vi i_compress(uint32_t chosen, vi v) { return _mm512_maskz_compress_epi32((__mmask16)chosen, v); }
#elif defined(__AVX2__)
static inline uint32_t f_in_range(vf v, vf low, vf high) {
  return (uint32_t)_mm256_movemask_ps(
      _mm256_and_ps(_mm256_cmp_ps(v, low, _CMP_GE_OQ), _mm256_cmp_ps(v, high, _CMP_LT_OQ)));
}
/// The lanes that `chosen` names, from lane 0 on.
static inline vi i_compress(uint32_t chosen, vi v) {
  const uint64_t bytes = _pdep_u64(chosen, 0x0101010101010101) * 0xff;
  const uint64_t lanes = _pext_u64(0x0706050403020100, bytes);
  return _mm256_permutevar8x32_epi32(v, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)lanes)));
}
#endif

static int64_t row_select(const float* x, const void* beside, int64_t n, float low, float high, float* values,
                          void* others) {
  int32_t* out = (int32_t*)others;
  int64_t count = 0, i = 0;
#ifdef __AVX2__
  int32_t numbers[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = lane;
  const vi iota = i_load(numbers);
  for (; i + kLanes <= n; i += kLanes) {
    const vf v = f_load(x + i);
    const uint32_t chosen = f_in_range(v, f_set(low), f_set(high));
    if (chosen == 0) continue;
    const vi other = beside ? i_load((const int32_t*)beside + i) : i_add(iota, i_set((int32_t)i));
    i_store(values + count, i_compress(chosen, (vi)v));  // past the chosen ones, never past i + kLanes
    i_store(out + count, i_compress(chosen, other));
    count += __builtin_popcount(chosen);
  }
#endif
  for (; i < n; ++i) {  // the stores are unconditional: which elements are chosen cannot be predicted
    const float value = x[i];
    int32_t other = (int32_t)i;
    if (beside) memcpy(&other, (const int32_t*)beside + i, sizeof other);
    values[count] = value;
    memcpy(out + count, &other, sizeof other);
    count += (value >= low) & (value < high);
  }
  return count;
}
