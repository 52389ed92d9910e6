#include "nn/attention.h"

#include <gtest/gtest.h>

#include <functional>

#include "cpu/phase.h"
#include "mlx/ops.h"
#include "mlx/random.h"
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

/// The steps of the block, each by its own operation.
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
  mx::array v = mx::transpose(mx::unflatten(x.v, -1, {-1, kHeadDim}), {0, 2, 1, 3});
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
