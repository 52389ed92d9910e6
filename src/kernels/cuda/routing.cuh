// The choice of a token's experts. Defines: LANE_EXPERTS (the experts, 32 at a time).
#define INFINITE __uint_as_float(0x7f800000u)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)
#define SOFTMAX 0
#define SIGMOID 1
#define SOFTMAX_OF_CHOSEN 2

struct RouteParams {
  const float* logits;        // [tokens, experts]
  const float* bias;          // [experts], added for the choice only; or null
  const float* expert_scale;  // [experts], or null
  int* ids;                   // [tokens, top_k]
  float* weights;             // [tokens, top_k]
  int tokens, experts, top_k, score, normalise, groups, top_groups, group_best;  // top_k and groups up to 32
  float scale, eps;
};

// Positive integers in the order of the floats.
DEVICE u32 rank(float x) {
  const u32 bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE u32 warp_max(u32 x) { return __reduce_max_sync(0xffffffffu, x); }

// The place i · 32 + lane of the largest of all lanes' ranks [COUNT], the first among equals. Sets it to zero.
template <int COUNT>
DEVICE int take_largest(u32* ranks, int lane) {
  u32 own = 0;
  int at = 0;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    if (ranks[i] > own) own = ranks[i], at = i;
  }
  const u32 most = warp_max(own);
  const int found = __reduce_min_sync(0xffffffffu, own == most ? at * 32 + lane : 0x7fffffff);
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    if (i * 32 + lane == found) ranks[i] = 0;
  }
  return found;
}

// Sets the ranks of experts outside of the best groups to that of -infinity. Each lane has a group.
DEVICE void keep_best_groups(const RouteParams& p, u32* ranks, float* strengths, int lane) {
  const int size = p.experts / p.groups, best = min(p.group_best, size);
  float sum = 0, last = INFINITE;
  int at = -1;
  for (int b = 0; b < best && lane < p.groups; ++b) {  // the next by value, then by place
    float value = -INFINITE;
    int next = -1;
    for (int i = 0; i < size; ++i) {
      const float x = strengths[lane * size + i];
      const bool is_left = x < last || (x == last && i > at);
      if (is_left && (next < 0 || x > value)) value = x, next = i;
    }
    sum += last = value;
    at = next;
  }
  u32 merit[1] = {lane < p.groups ? rank(sum) : 0};
  for (int i = 0; i < p.top_groups; ++i) take_largest<1>(merit, lane);
  const u32 kept = __ballot_sync(0xffffffffu, merit[0] == 0);
  for (int i = 0; i < LANE_EXPERTS; ++i) {
    const int e = i * 32 + lane;
    if (e < p.experts && !(kept >> (e / size) & 1)) ranks[i] = rank(-INFINITE);
  }
}

// Chooses a token's experts; called by a warp. `strengths`: [experts] in shared memory, if experts come in groups. A
// token whose logits are not finite gets the first experts and weights of NaN.
DEVICE void route_row(const RouteParams& p, int token, float* strengths, int lane) {
  const float* const logits = p.logits + (long long)token * p.experts;
  float x[LANE_EXPERTS];
  u32 ranks[LANE_EXPERTS];
  float most = -INFINITE, sum = 0;
  bool finite = true;
#pragma unroll
  for (int i = 0; i < LANE_EXPERTS; ++i) {
    const int e = i * 32 + lane;
    x[i] = e < p.experts ? __ldcg(logits + e) : -INFINITE;
    finite = finite && (e >= p.experts || fabsf(x[i]) < INFINITE);
    most = fmaxf(most, x[i]);
  }
  finite = __all_sync(0xffffffffu, finite);
  if (p.score == SOFTMAX) {
    const u32 largest = warp_max(rank(most));
    most = __uint_as_float(largest >> 31 ? largest & 0x7fffffffu : ~largest);
#pragma unroll
    for (int i = 0; i < LANE_EXPERTS; ++i) sum += __expf(x[i] - most);
    sum = 1 / warp_sum(sum);
  }
  const auto scored = [&](float logit) {
    if (p.score == SOFTMAX) return __expf(logit - most) * sum;
    return p.score == SIGMOID ? 1 / (1 + __expf(-logit)) : logit;
  };
#pragma unroll
  for (int i = 0; i < LANE_EXPERTS; ++i) {
    const int e = i * 32 + lane;
    const float strength = e >= p.experts || !finite ? 0 : scored(x[i]) + (p.bias ? p.bias[e] : 0);
    ranks[i] = e < p.experts ? rank(strength) : 0;
    if (p.groups > 1 && e < p.experts) strengths[e] = strength;
  }
  __syncwarp();
  if (p.groups > 1) keep_best_groups(p, ranks, strengths, lane);

  // Lane j keeps the j-th expert.
  int own = 0;
  for (int j = 0; j < p.top_k; ++j) {
    const int e = take_largest<LANE_EXPERTS>(ranks, lane);
    if (lane == j) own = e;
  }
  const bool has = lane < p.top_k;
  float weight = has && finite ? scored(__ldcg(logits + own)) : 0;
  float total = warp_sum(weight);
  if (p.score == SOFTMAX_OF_CHOSEN) {
    const u32 largest = warp_max(has ? rank(weight) : 0);
    weight = has ? __expf(weight - __uint_as_float(largest >> 31 ? largest & 0x7fffffffu : ~largest)) : 0;
    weight /= warp_sum(weight);
    total = 1;
  }
  total += p.eps;
  weight *= p.normalise && total > 0 ? p.scale / total : p.scale;
  if (!has) return;
  if (p.expert_scale) weight *= p.expert_scale[own];
  p.ids[(long long)token * p.top_k + lane] = own;
  p.weights[(long long)token * p.top_k + lane] = finite ? weight : NOT_A_NUMBER;
}
