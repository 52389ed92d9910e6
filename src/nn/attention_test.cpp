#include "nn/attention.h"

#include <gtest/gtest.h>

#include <functional>

#include "cpu/phase.h"
#include "json/json.h"
#include "kernels/cpu_op.h"
#include "mlx/device.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "nn/cache/kv_cache.h"
#include "nn/cache/rotating_cache.h"

namespace mlxk {
namespace {

constexpr int kHeads = 4, kKvHeads = 2, kHeadDim = 16;

mx::array random(mx::Shape shape, uint64_t seed) {
  mx::array x = mx::random::normal(std::move(shape), mx::random::key(seed));
  x.eval();
  return x;
}

Qkv random_tokens(int rows, int length) {
  return {random({rows, length, kHeads * kHeadDim}, 1), random({rows, length, kKvHeads * kHeadDim}, 2),
          random({rows, length, kKvHeads * kHeadDim}, 3), kHeadDim};
}

mx::array tokens_of(const mx::array& x, int begin, int end) {
  return mx::slice(x, {0, begin, 0}, {x.shape(0), end, x.shape(2)});
}

Qkv tokens_of(const Qkv& x, int begin, int end) {
  return {tokens_of(x.q, begin, end), tokens_of(x.k, begin, end), tokens_of(x.v, begin, end), kHeadDim};
}

RmsNorm head_norm(uint64_t seed) {
  Weights weights({{"n.weight", random({kHeadDim}, seed)}}, {});
  return RmsNorm(WeightPath(weights, "n"), kHeadDim, 1e-5F);
}

Rope rope_of(const char* json) {
  return Rope(RopeSettings::read(Config(parse_json(json, "test"), "test"), kHeadDim, 10000));
}

constexpr const char* kRopes[] = {
    R"({})", R"({"rope_scaling": {"type": "dynamic", "factor": 2}, "max_position_embeddings": 8})",
    R"({"rope_scaling": {"type": "su", "short_factor": [1,1,1,1,2,2,2,2], "long_factor": [4,4,4,4,5,5,5,5],
        "original_max_position_embeddings": 11}, "max_position_embeddings": 80})",
    R"({"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}})"};

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

/// The steps of the block, each as a separate operation.
mx::array by_operations(const Attention& block, const Qkv& x, AttentionCache& cache, const AttentionMask& mask,
                        const Positions& at, const std::optional<mx::array>& query_scale) {
  const auto heads = [&](const mx::array& a, const std::optional<HeadNorm>& first,
                         const std::optional<HeadNorm>& second) {
    mx::array h = mx::unflatten(a, -1, {-1, kHeadDim});
    h = mx::transpose(first ? first->norm(h) : h, {0, 2, 1, 3});
    if (block.rope) h = (*block.rope)(h, at);
    return second ? second->norm(h) : h;
  };
  mx::array q = heads(x.q, x.q_norm, block.q_norm), k = heads(x.k, x.k_norm, block.k_norm);
  mx::array v = mx::transpose(mx::unflatten(x.v, -1, {kKvHeads, -1}), {0, 2, 1, 3});
  if (query_scale) q = mx::multiply(q, *query_scale);
  return mx::flatten(mx::transpose(cache.attend(q, k, v, block.scores, mask, at), {0, 2, 1, 3}), 2, 3);
}

TEST(AttentionBlock, EqualsItsOperations) {
  for (const char* json : kRopes) {
    for (const bool given : {false, true}) {
      const bool mrope = std::string(json).find("mrope") != std::string::npos;
      Qkv x = random_tokens(2, 9);
      x.q_norm = head_norm(4);
      x.k_norm = head_norm(5);
      const Attention block{rope_of(json), head_norm(6), head_norm(7), 0.3F};
      std::optional<mx::array> positions;
      if (given)
        positions = mx::astype(
            mx::multiply(mx::abs(random(mrope ? mx::Shape{3, 2, 9} : mx::Shape{2, 9}, 8)), mx::array(9.0F)), mx::int32);
      const Positions at({0, 0}, 9, {9, 7}, positions);
      const mx::array scale = mx::add(mx::abs(random({2, 1, 9, 1}, 9)), mx::array(0.5F));
      KVCache one(2), other(2);
      const AttentionMask mask = one.mask(at);
      const mx::array wanted = by_operations(block, x, one, mask, at, scale), got = block(x, other, mask, at, scale);
      EXPECT_LT(difference(tokens_of(got, 0, 7), tokens_of(wanted, 0, 7)), 2e-5) << json << (given ? " given" : "");
    }
  }
}

TEST(AttentionBlock, TakesAMaskAndRefusesOneThatIsTooSmall) {
  const Qkv x = random_tokens(1, 6);
  const Attention block{std::nullopt, std::nullopt, std::nullopt, 0.3F};
  const Positions at({0}, 6);
  const AttentionMask mask{"array", random({1, 1, 6, 6}, 10), true};
  KVCache one(1), other(1);
  EXPECT_LT(difference(block(x, one, mask, at), by_operations(block, x, other, mask, at, std::nullopt)), 2e-5);
  const AttentionMask small{"array", random({1, 1, 6, 5}, 11), true};
  KVCache third(1);
  if (cpu_is_default()) {
    EXPECT_THROW(block(x, third, small, at), Error);
  }
}

TEST(AttentionBlock, GivesTheSameBitsHoweverAPromptIsCut) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "a promise for the CPU";
  constexpr int kLength = 90;
  const Qkv x = random_tokens(1, kLength);
  const Attention block{rope_of("{}"), std::nullopt, std::nullopt, 0.3F};
  const auto run = [&](std::unique_ptr<AttentionCache> cache, const std::vector<int>& cuts) {
    std::vector<mx::array> parts;
    int begin = 0;
    for (const int end : cuts) {
      const Positions at({begin}, end - begin);
      parts.push_back(block(tokens_of(x, begin, end), *cache, cache->mask(at), at));
      parts.back().eval();
      begin = end;
    }
    return mx::concatenate(parts, 1);
  };
  const std::function<std::unique_ptr<AttentionCache>()> caches[] = {
      [] { return std::make_unique<KVCache>(1); }, [] { return std::make_unique<RotatingKVCache>(1, 20); },
      [] { return std::make_unique<RotatingKVCache>(1, 33, 5); }};
  for (const Phase phase : {Phase::prefill, Phase::decode}) {
    const PhaseScope scope(phase);
    for (const auto& make : caches) {
      const mx::array whole = run(make(), {kLength});
      for (const auto& cuts : std::vector<std::vector<int>>{{1, 90}, {19, 21, 22, 50, 90}, {45, 89, 90}}) {
        EXPECT_TRUE(mx::array_equal(run(make(), cuts), whole).item<bool>()) << cuts.size() << " pieces";
      }
    }
  }
}

TEST(AttentionBlock, GoesOnFromASnapshotWithTheSameBits) {
  const Qkv x = random_tokens(1, 40);
  const Attention block{rope_of("{}"), std::nullopt, std::nullopt, 0.3F};
  for (const int window : {0, 12}) {
    std::unique_ptr<AttentionCache> cache;
    if (window > 0)
      cache = std::make_unique<RotatingKVCache>(1, window);
    else
      cache = std::make_unique<KVCache>(1);
    const auto step = [&](AttentionCache& c, int begin, int end) {
      const Positions at({begin}, end - begin);
      mx::array out = block(tokens_of(x, begin, end), c, c.mask(at), at);
      out.eval();
      return out;
    };
    step(*cache, 0, 30);
    const auto saved = cache->snapshot();
    const mx::array first = step(*cache, 30, 40);
    EXPECT_TRUE(mx::array_equal(step(dynamic_cast<AttentionCache&>(*saved), 30, 40), first).item<bool>()) << window;
  }
}

LayerInputs inputs_of(const Positions& at, std::vector<MaskRequest::Range> ranges = {}) {
  return {at, LayerMasks(std::nullopt, at, std::move(ranges)), std::nullopt, {}};
}

/// Values with another width than keys, and a gate.
Qkv wide_tokens(int rows, int length) {
  constexpr int kValueDim = 24;
  Qkv x = random_tokens(rows, length);
  x.v = random({rows, length, kKvHeads * kValueDim}, 12);
  x.value_dim = kValueDim;
  return x;
}

Attention block_of(int window) { return {std::nullopt, std::nullopt, std::nullopt, 0.3F, {.window = window}}; }

/// The block's result computed by plain operations, each score separately.
mx::array by_definition(const Attention& block, const Qkv& x, const mx::array& seen) {
  const int rows = x.q.shape(0), length = x.q.shape(1), value_dim = x.v.shape(2) / kKvHeads;
  const auto heads = [&](const mx::array& a, int dim, int count) {
    const mx::array h = mx::transpose(mx::reshape(a, {rows, length, count, dim}), {0, 2, 1, 3});
    return count == kHeads ? h : mx::repeat(h, kHeads / kKvHeads, 1);
  };
  const mx::array q = heads(x.q, kHeadDim, kHeads), k = heads(x.k, kHeadDim, kKvHeads);
  mx::array scores = mx::multiply(mx::matmul(q, mx::swapaxes(k, -1, -2)), mx::array(block.scores.scale));
  if (block.scores.soft_cap > 0) {
    const mx::array cap(block.scores.soft_cap);
    scores = mx::multiply(mx::tanh(mx::divide(scores, cap)), cap);
  }
  mx::array weights = mx::where(seen, mx::exp(scores), mx::array(0.0F));
  mx::array sum = mx::sum(weights, -1, true);
  if (block.scores.sinks) sum = mx::add(sum, mx::reshape(mx::exp(*block.scores.sinks), {1, kHeads, 1, 1}));
  const mx::array out = mx::matmul(mx::divide(weights, sum), heads(x.v, value_dim, kKvHeads));
  return mx::flatten(mx::transpose(out, {0, 2, 1, 3}), 2, 3);
}

TEST(AttentionBlock, KnowsSoftCapsSinksAndValuesOfAnotherWidth) {
  const Positions at({0, 0}, 7);
  const mx::array rows = mx::reshape(mx::arange(7), {7, 1}), seen = mx::less_equal(mx::arange(7), rows);
  for (const bool wide : {false, true}) {
    for (const float cap : {0.0F, 1.5F}) {
      for (const bool with_sinks : {false, true}) {
        const Qkv x = wide ? wide_tokens(2, 7) : random_tokens(2, 7);
        AttentionScores scores(0.3F, cap);
        if (with_sinks) scores.sinks = random({kHeads}, 13);
        const Attention block{std::nullopt, std::nullopt, std::nullopt, scores};
        const mx::array wanted = by_definition(block, x, seen);
        KVCache one(2), other(2);
        EXPECT_LT(difference(block(x, one, inputs_of(at)), wanted), 2e-5) << wide << cap << with_sinks;
        EXPECT_LT(difference(by_operations(block, x, other, other.mask(at), at, std::nullopt), wanted), 2e-5)
            << "by operations " << wide << cap << with_sinks;
      }
    }
  }
}

TEST(AttentionBlock, SeesWindowsChunksAndRangesHoweverAPromptIsCut) {
  constexpr int kLength = 23;
  const Qkv x = random_tokens(1, kLength);
  const mx::array k = mx::arange(kLength), q = mx::reshape(k, {kLength, 1});
  const mx::array causal = mx::less_equal(k, q);
  const auto inside = [](const mx::array& a) {
    return mx::logical_and(mx::greater_equal(a, mx::array(4)), mx::less(a, mx::array(9)));
  };
  struct Case {
    const char* name;
    MaskRequest request;
    std::vector<MaskRequest::Range> ranges;
    mx::array seen;
  };
  const std::vector<Case> cases{
      {"window", {.window = 5}, {}, mx::logical_and(causal, mx::greater(k, mx::subtract(q, mx::array(5))))},
      {"chunk",
       {.chunk = 6},
       {},
       mx::logical_and(causal, mx::equal(mx::floor_divide(k, mx::array(6)), mx::floor_divide(q, mx::array(6))))},
      {"range", {}, {{0, 4, 9}}, mx::logical_or(causal, mx::logical_and(inside(q), inside(k)))}};
  for (const Case& c : cases) {
    const Attention block{std::nullopt, std::nullopt, std::nullopt, 0.3F, c.request};
    const mx::array wanted = by_definition(block, x, c.seen);
    for (const auto& cuts : std::vector<std::vector<int>>{{23}, {9, 10, 23}, {12, 20, 21, 22, 23}}) {
      for (const bool in_ring : {false, true}) {
        if (in_ring && std::string(c.name) == "chunk") continue;
        const bool ring = in_ring && std::string(c.name) == "window";
        std::unique_ptr<AttentionCache> cache = std::make_unique<KVCache>(1);
        if (ring) cache = std::make_unique<RotatingKVCache>(1, 5);
        if (in_ring && !ring) cache = std::make_unique<RotatingKVCache>(1, 30);
        std::vector<mx::array> parts;
        int begin = 0;
        for (const int end : cuts) {
          const Positions at({begin}, end - begin);
          parts.push_back(block(tokens_of(x, begin, end), *cache, inputs_of(at, c.ranges)));
          parts.back().eval();
          begin = end;
        }
        EXPECT_LT(difference(mx::concatenate(parts, 1), wanted), 2e-5)
            << c.name << ", " << cuts.size() << " pieces" << (in_ring ? ", ring" : "");
      }
    }
  }
}

TEST(AttentionBlock, ReadsTheKeysOfAnotherLayer) {
  constexpr int kLength = 12;
  const Qkv owner = random_tokens(1, kLength);
  Qkv reader = owner;
  reader.q = random({1, kLength, kHeads * kHeadDim}, 21);
  const mx::array k = mx::arange(kLength), q = mx::reshape(k, {kLength, 1});
  const mx::array causal = mx::less_equal(k, q);
  for (const int window : {0, 4}) {
    const Attention block{std::nullopt, std::nullopt, std::nullopt, 0.3F, {.window = window}};
    mx::array seen = causal;
    if (window > 0) seen = mx::logical_and(seen, mx::greater(k, mx::subtract(q, mx::array(window))));
    const mx::array wanted = by_definition(block, reader, seen);
    for (const auto& cuts : std::vector<std::vector<int>>{{12}, {7, 8, 9, 12}}) {
      KVCache cache(1);
      std::vector<mx::array> parts;
      int begin = 0;
      for (const int end : cuts) {
        const LayerInputs in = inputs_of(Positions({begin}, end - begin));
        block(tokens_of(owner, begin, end), cache, in).eval();
        Qkv own = tokens_of(reader, begin, end);
        own.reads = true;
        parts.push_back(block(own, cache, in));
        parts.back().eval();
        begin = end;
      }
      EXPECT_EQ(cache.positions(), std::vector<int>{kLength});
      EXPECT_LT(difference(mx::concatenate(parts, 1), wanted), 2e-5) << window << ", " << cuts.size() << " pieces";
    }
  }
  KVCache empty(1);
  Qkv early = reader;
  early.reads = true;
  EXPECT_THROW(block_of(0)(early, empty, inputs_of(Positions({0}, kLength))), Error) << "nothing was appended";
  RotatingKVCache ring(1, 30);
  EXPECT_THROW(block_of(0)(early, ring, inputs_of(Positions({0}, kLength))), Error) << "a ring keeps no call whole";
}

TEST(AttentionBlock, TakesThePrefixOfKeysAsValues) {
  constexpr int kPrefix = 10, kLength = 9;
  Qkv x = random_tokens(1, kLength);
  const mx::array keys = mx::unflatten(x.k, -1, {kKvHeads, kHeadDim});
  Qkv spelled = x;
  spelled.v = mx::flatten(mx::slice(keys, {0, 0, 0, 0}, {1, kLength, kKvHeads, kPrefix}), 2, 3);
  spelled.value_dim = kPrefix;
  const mx::array k = mx::arange(kLength), causal = mx::less_equal(k, mx::reshape(k, {kLength, 1}));
  const mx::array wanted = by_definition(block_of(0), spelled, causal);
  for (const auto& cuts : std::vector<std::vector<int>>{{9}, {4, 5, 9}}) {
    KVCache cache(1, kPrefix), other(1, kPrefix);
    std::vector<mx::array> parts, by_libmlx;
    int begin = 0;
    for (const int end : cuts) {
      const Positions at({begin}, end - begin);
      const Qkv own = tokens_of(x, begin, end);
      by_libmlx.push_back(by_operations(block_of(0), own, other, other.mask(at), at, std::nullopt));
      parts.push_back(block_of(0)(own, cache, inputs_of(at)));
      mx::eval({parts.back(), by_libmlx.back()});
      begin = end;
    }
    EXPECT_EQ(cache.arrays().size(), 1U);
    EXPECT_LT(difference(mx::concatenate(parts, 1), wanted), 2e-5) << cuts.size() << " pieces";
    EXPECT_LT(difference(mx::concatenate(by_libmlx, 1), wanted), 2e-5) << cuts.size() << " pieces, by operations";
  }
}

TEST(NormQkv, TakesFusedMatricesApartAsSeparateOnesLie) {
  constexpr int kHidden = 32, kQ = kHeads * kHeadDim, kKv = kKvHeads * kHeadDim, kGroup = kHeads / kKvHeads;
  const mx::array q = random({kQ, kHidden}, 1), k = random({kKv, kHidden}, 2), v = random({kKv, kHidden}, 3);
  const auto by_head = [&](const mx::array& w) { return mx::reshape(w, {kKvHeads, -1, kHidden}); };
  const mx::array grouped = mx::reshape(mx::concatenate({by_head(q), by_head(k), by_head(v)}, 1), {-1, kHidden});
  Weights weights({{"q.weight", q},
                   {"k.weight", k},
                   {"v.weight", v},
                   {"all.weight", mx::concatenate({q, k, v}, 0)},
                   {"grouped.weight", mx::contiguous(grouped)}},
                  {});
  const WeightPath root(weights);
  const NormQkv separate{std::nullopt,
                         Linear(root / "q", kHidden, kQ),
                         Linear(root / "k", kHidden, kKv),
                         Linear(root / "v", kHidden, kKv),
                         {},
                         {},
                         kHeadDim};
  const auto parts = Linear(root / "all", kHidden, kQ + 2 * kKv).split({kQ, kKv, kKv});
  const NormQkv split{std::nullopt, parts[0], parts[1], parts[2], {}, {}, kHeadDim};
  NormQkv groups{std::nullopt, Linear(root / "grouped", kHidden, kQ + 2 * kKv), std::nullopt, std::nullopt, {}, {},
                 kHeadDim};
  groups.grouped_heads = kGroup;
  const mx::array x = random({2, 5, kHidden}, 4);
  const Qkv wanted = separate(x);
  for (const NormQkv* block : std::initializer_list<const NormQkv*>{&split, &groups}) {
    const Qkv got = (*block)(x);
    EXPECT_TRUE(mx::array_equal(got.q, wanted.q).item<bool>());
    EXPECT_TRUE(mx::array_equal(got.k, wanted.k).item<bool>());
    EXPECT_TRUE(mx::array_equal(got.v, wanted.v).item<bool>());
  }
}

TEST(AttentionBlock, AppliesAGateForEachNumberOrHead) {
  const Positions at({0}, 4);
  const Attention block{std::nullopt, std::nullopt, std::nullopt, 0.3F};
  Qkv x = random_tokens(1, 4);
  KVCache first(1), second(1), third(1);
  const mx::array plain = block(x, first, inputs_of(at));
  x.gate = random({1, 4, kHeads * kHeadDim}, 5);
  EXPECT_LT(difference(block(x, second, inputs_of(at)), mx::multiply(plain, mx::sigmoid(*x.gate))), 1e-6);
  x.gate = random({1, 4, kHeads}, 6);
  const mx::array wide = mx::repeat(mx::sigmoid(*x.gate), kHeadDim, 2);
  EXPECT_LT(difference(block(x, third, inputs_of(at)), mx::multiply(plain, wide)), 1e-6);
}

TEST(LayerNorm, EqualsItsDefinition) {
  for (const int dims : {1, 7, 16, 100}) {
    const mx::array x = random({3, 2, dims}, 1), w = random({dims}, 2), b = random({dims}, 3);
    Weights weights({{"n.weight", w}, {"n.bias", b}}, {});
    const mx::array mean = mx::mean(x, -1, true), centred = mx::subtract(x, mean);
    const mx::array scaled =
        mx::divide(centred, mx::sqrt(mx::add(mx::mean(mx::square(centred), -1, true), mx::array(1e-5F))));
    EXPECT_LT(difference(LayerNorm(WeightPath(weights, "n"), dims, 1e-5F)(x), mx::add(mx::multiply(scaled, w), b)),
              1e-5)
        << dims;
  }
}

TEST(Embedding, GivesTheRowsOfPackedAndFloatTables) {
  const mx::array table = random({11, 64}, 1), ids = mx::array({3, 0, 10, 3, 7, 1}, {2, 3}, mx::int32);
  for (const int bits : {0, 2, 3, 4, 5, 6, 8}) {
    Weights::Tensors tensors{{"e.weight", table}};
    mx::array wanted = mx::take(table, ids, 0);
    if (bits > 0) {
      const auto parts = mx::quantize(table, 32, bits);
      tensors = {{"e.weight", parts[0]}, {"e.scales", parts[1]}, {"e.biases", parts[2]}};
      wanted = mx::take(mx::dequantize(parts[0], parts[1], parts[2], 32, bits), ids, 0);
    }
    Weights weights(tensors, {});
    const Embedding embedding(WeightPath(weights, "e"), 11, 64);
    EXPECT_LT(difference(embedding(ids), wanted), 1e-6) << bits;
    if (cpu_is_default()) {
      EXPECT_TRUE(mx::all(mx::isnan(embedding(mx::array({11, -1}, {2}, mx::int32)))).item<bool>());
    }
  }
}

}  // namespace
}  // namespace mlxk
