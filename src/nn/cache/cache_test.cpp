#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "kernels/cuda/table.h"
#include "kernels/device.h"
#include "mlx/device.h"
#include "mlx/memory.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "nn/cache/cross_cache.h"
#include "nn/cache/kv_cache.h"
#include "nn/cache/quantized_kv_cache.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/cache/rotating_cache.h"

namespace mlxk {
namespace {

constexpr int kHeads = 4, kKvHeads = 2, kHeadDim = 64;

struct Tokens {
  mx::array q, k, v;
};

Tokens random_tokens(int rows, int length, uint64_t seed) {
  auto make = [&](int heads, uint64_t salt) {
    mx::array x = mx::random::normal({rows, heads, length, kHeadDim}, mx::random::key(seed * 3 + salt));
    x.eval();
    return x;
  };
  return {make(kHeads, 0), make(kKvHeads, 1), make(kKvHeads, 2)};
}

mx::array part(const mx::array& x, int row, int begin, int end) {
  return mx::slice(x, {row, 0, begin, 0}, {row + 1, x.shape(1), end, x.shape(3)});
}

Tokens part(const Tokens& t, int row, int begin, int end) {
  return {part(t.q, row, begin, end), part(t.k, row, begin, end), part(t.v, row, begin, end)};
}

mx::array attend(AttentionCache& cache, const Tokens& t, std::vector<int> lengths = {}) {
  Positions at(cache.positions(), t.q.shape(2), std::move(lengths));
  AttentionMask mask = cache.mask(at);
  return cache.attend(t.q, t.k, t.v, 0.125F, mask, at);
}

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

// Attention over `window` tokens, of which the first `keep` are always seen.
mx::array reference(const Tokens& t, int window, int keep) {
  int length = t.q.shape(2);
  mx::array queries = mx::reshape(mx::arange(length), {length, 1}), keys = mx::arange(length);
  mx::array recent = mx::greater(keys, mx::subtract(queries, mx::array(window - keep)));
  mx::array seen =
      mx::logical_and(mx::less_equal(keys, queries), mx::logical_or(recent, mx::less(keys, mx::array(keep))));
  mx::array k = mx::repeat(t.k, kHeads / kKvHeads, 1), v = mx::repeat(t.v, kHeads / kKvHeads, 1);
  mx::array scores = mx::multiply(mx::matmul(t.q, mx::transpose(k, {0, 1, 3, 2})), mx::array(0.125F));
  return mx::matmul(mx::softmax(mx::where(seen, scores, mx::array(-1e30F)), -1), v);
}

struct Kind {
  const char* name;
  std::function<std::unique_ptr<AttentionCache>(int rows)> make;
  int window, keep;
  float tolerance;
};

class AttentionCaches : public testing::TestWithParam<Kind> {};

TEST_P(AttentionCaches, PiecesOfAnySizeGiveWhatTheWholeGives) {
  const Kind& kind = GetParam();
  Tokens all = random_tokens(1, 40, 1);
  mx::array expected = reference(all, kind.window, kind.keep);
  for (const auto& pieces : std::vector<std::vector<int>>{{40}, {1, 2, 3, 34}, {20, 1, 1, 1, 9, 8}, {13, 13, 14}}) {
    auto cache = kind.make(1);
    int at = 0;
    for (int count : pieces) {
      mx::array out = attend(*cache, part(all, 0, at, at + count));
      EXPECT_LT(difference(out, part(expected, 0, at, at + count)), kind.tolerance) << kind.name << " at " << at;
      at += count;
    }
    EXPECT_EQ(cache->positions(), std::vector<int>{40});
  }
}

TEST_P(AttentionCaches, RowsOfDifferentLengthDoNotSeeEachOther) {
  const Kind& kind = GetParam();
  Tokens all = random_tokens(3, 12, 2);
  auto together = kind.make(3);
  const std::vector<std::vector<int>> calls{{12, 3, 7}, {1, 1, 1}, {4, 0, 9}, {1, 1, 0}};
  std::vector<std::unique_ptr<AttentionCache>> alone;
  for (int row = 0; row < 3; ++row) alone.push_back(kind.make(1));
  for (const auto& lengths : calls) {
    int longest = *std::max_element(lengths.begin(), lengths.end());
    Tokens given{mx::slice(all.q, {0, 0, 0, 0}, {3, kHeads, longest, kHeadDim}),
                 mx::slice(all.k, {0, 0, 0, 0}, {3, kKvHeads, longest, kHeadDim}),
                 mx::slice(all.v, {0, 0, 0, 0}, {3, kKvHeads, longest, kHeadDim})};
    mx::array out = attend(*together, given, lengths);
    for (int row = 0; row < 3; ++row) {
      if (lengths[row] == 0) continue;
      mx::array expected = attend(*alone[row], part(given, row, 0, lengths[row]));
      EXPECT_LT(difference(part(out, row, 0, lengths[row]), expected), 1e-5F) << kind.name << ", row " << row;
    }
  }
  EXPECT_EQ(together->positions(), (std::vector<int>{18, 5, 17}));
}

std::vector<float> numbers(mx::array x) {
  x = mx::contiguous(x);
  x.eval();
  return {x.data<float>(), x.data<float>() + x.size()};
}

TEST_P(AttentionCaches, JoinedRowsGiveTheBitsOfRowsAlone) {
  const Kind& kind = GetParam();
  const std::vector<int> lengths{12, 3, 7};
  Tokens all = random_tokens(3, 12, 3), next = random_tokens(3, 1, 4);
  std::vector<std::unique_ptr<AttentionCache>> parts, alone;
  for (int row = 0; row < 3; ++row) {
    for (auto* caches : {&parts, &alone}) {
      caches->push_back(kind.make(1));
      attend(*caches->back(), part(all, row, 0, lengths[row])).eval();
    }
  }
  // Rows join and leave between two steps, and one may take a step alone.
  for (const std::vector<int>& members : std::vector<std::vector<int>>{{0, 1, 2}, {2, 0}, {1}, {0, 1, 2}}) {
    std::vector<Cache*> rows;
    for (int row : members) rows.push_back(parts[row].get());
    auto batched = rows.front()->batch(rows);
    Tokens given = next;
    const mx::array order(members.begin(), {static_cast<int>(members.size())}, mx::int32);
    for (mx::array* x : {&given.q, &given.k, &given.v}) *x = mx::take(*x, order, 0);
    const mx::array out = attend(dynamic_cast<AttentionCache&>(*batched), given);
    batched->unbatch();
    for (size_t i = 0; i < members.size(); ++i) {
      const int row = members[i];
      const auto expected = numbers(attend(*alone[row], part(next, row, 0, 1)));
      EXPECT_EQ(numbers(part(out, static_cast<int>(i), 0, 1)), expected) << kind.name << ", row " << row;
      EXPECT_EQ(parts[row]->positions(), alone[row]->positions());
    }
  }
}

TEST(JoinedCache, RefusesRowsOfTwoKinds) {
  KVCache full(1), pair(2);
  RotatingKVCache rotating(1, 8);
  std::vector<Cache*> kinds{&full, &rotating}, rows{&full, &pair};
  EXPECT_THROW(full.batch(kinds), Error);
  EXPECT_THROW(full.batch(rows), Error);
}

TEST_P(AttentionCaches, ASnapshotIsNotTouchedByLaterTokens) {
  const Kind& kind = GetParam();
  Tokens all = random_tokens(1, 5, 5), a = random_tokens(1, 1, 6), b = random_tokens(1, 1, 7);
  auto cache = kind.make(1);
  attend(*cache, all).eval();
  auto saved = cache->snapshot();
  mx::array first = attend(*cache, a);
  first.eval();
  attend(*cache, b).eval();
  EXPECT_EQ(saved->positions(), std::vector<int>{5});
  EXPECT_LT(difference(attend(dynamic_cast<AttentionCache&>(*saved), a), first), 1e-6F);
}

TEST_P(AttentionCaches, TrimmedTokensAreForgotten) {
  const Kind& kind = GetParam();
  Tokens all = random_tokens(1, 7, 8), next = random_tokens(1, 1, 9);
  auto cache = kind.make(1), shorter = kind.make(1);
  attend(*cache, all).eval();
  EXPECT_FALSE(cache->can_trim(8));
  EXPECT_THROW(cache->trim(8), Error);
  cache->trim(3);
  attend(*shorter, part(all, 0, 0, 4)).eval();
  EXPECT_LT(difference(attend(*cache, next), attend(*shorter, next)), 1e-6F);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, AttentionCaches,
    testing::Values(
        Kind{"full", [](int rows) { return std::make_unique<KVCache>(rows); }, 1000, 0, 1e-5F},
        Kind{"rotating", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 8); }, 8, 0, 1e-5F},
        Kind{"keeping", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 9, 2); }, 9, 2, 1e-5F},
        Kind{"quantized", [](int rows) { return std::make_unique<QuantizedKVCache>(rows); }, 1000, 0, 0.05F}),
    [](const auto& info) { return info.param.name; });

// The peak of memory that `steps` appended tokens need in addition.
size_t bytes_of_appends(AttentionCache& cache, int steps, bool pipelined) {
  Tokens next = random_tokens(1, 1, 10);
  attend(cache, next).eval();
  std::optional<mx::array> running;
  mx::clear_cache();
  size_t before = mx::get_active_memory();
  mx::reset_peak_memory();
  for (int i = 0; i < steps; ++i) {
    mx::array out = attend(cache, next);
    if (pipelined) {
      mx::async_eval({out});
      if (running) running->wait();
      running = out;
    } else {
      out.eval();
    }
  }
  if (running) running->wait();
  return mx::get_peak_memory() - std::min(before, mx::get_peak_memory());
}

// Fills a cache without computing attention over all of it.
void fill(AttentionCache& cache, int length) {
  Tokens t = random_tokens(1, length, 11);
  Positions at(cache.positions(), length);
  cache.attend(part(t.q, 0, 0, 1), t.k, t.v, 0.125F, {"", std::nullopt}, at).eval();
}

TEST(KvAppend, NeverCopiesTheBuffer) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "a promise for the CPU";
  for (bool pipelined : {false, true}) {
    KVCache cache(1);
    fill(cache, 4000);
    size_t buffer = cache.nbytes() / 2;
    ASSERT_GT(buffer, 2'000'000U);
    EXPECT_LT(bytes_of_appends(cache, 50, pipelined), buffer / 2) << (pipelined ? "pipelined" : "one by one");
  }
}

TEST(KvAppend, ASnapshotCostsOneCopy) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "a promise for the CPU";
  KVCache cache(1);
  fill(cache, 4000);
  size_t buffer = cache.nbytes() / 2;
  auto saved = cache.snapshot();
  attend(cache, random_tokens(1, 1, 12)).eval();
  EXPECT_LT(bytes_of_appends(cache, 20, false), buffer / 2);
  EXPECT_EQ(saved->positions(), std::vector<int>{4000});
}

TEST(RotatingCache, HoldsNoMoreThanItsWindow) {
  RotatingKVCache cache(1, 16);
  attend(cache, random_tokens(1, 100, 13)).eval();
  EXPECT_EQ(cache.arrays().at(0).shape(2), 16);
  EXPECT_FALSE(cache.can_trim(1));
  EXPECT_TRUE(cache.can_trim(0));
}

TEST(RotatingCache, RefusesAWindowWithoutRoom) { EXPECT_THROW(RotatingKVCache(1, 4, 4), Error); }

TEST(QuantizedCache, UnpackedForAttentionOnCudaGivesTheSame) {
  QuantizedKVCache packed(1), unpacked(1);
  const Tokens prompt = random_tokens(1, 20, 21), next = random_tokens(1, 1, 22);
  const mx::array first = attend(packed, prompt), second = attend(packed, next);
  const LayerOpsScope scope(cuda_layer_ops());
  EXPECT_LT(difference(attend(unpacked, prompt), first), 1e-4F);
  EXPECT_LT(difference(attend(unpacked, next), second), 1e-4F);
}

TEST(QuantizedCache, NamesAHeadThatCannotBePacked) {
  QuantizedKVCache cache(1, 4, 64);
  mx::array x = mx::zeros({1, 2, 1, 48});
  Positions at(cache.positions(), 1);
  EXPECT_THROW(cache.attend(x, x, x, 1, cache.mask(at), at), Error);
}

/// What each of `length` tokens of the only row sees: the first key of the images, or nothing.
std::vector<std::vector<float>> seen_by(const CrossCache& cache, int length) {
  std::vector<std::vector<float>> all(static_cast<size_t>(length));
  for (const auto& one : cache.seen(Positions(cache.positions(), length))) {
    for (int i = one.begin; i < one.end; ++i) all[static_cast<size_t>(i)] = numbers(one.view.keys.front());
  }
  return all;
}

mx::array image_of(float value) { return mx::full({1, 1, 1, 1}, value); }

TEST(CrossCache, ATokenSeesTheLastAdjacentImagesBeforeIt) {
  CrossCache cache(1);
  for (const int token : {1, 3, 4, 6}) {
    cache.add(0, token, image_of(static_cast<float>(token)), image_of(0));
  }
  using Keys = std::vector<std::vector<float>>;
  EXPECT_EQ(seen_by(cache, 8), (Keys{{}, {1}, {1}, {3}, {3, 4}, {3, 4}, {6}, {6}}));
  cache.advance(Positions({0}, 5, {5}));  // as if the last image were in the next call
  EXPECT_THROW(cache.add(0, 6, image_of(6), image_of(0)), Error) << "not after the last one";
  EXPECT_FALSE(cache.can_trim(1)) << "the image is not dropped";

  CrossCache cut(1);  // adjacent images in two calls
  cut.add(0, 3, image_of(3), image_of(0));
  cut.advance(Positions({0}, 4));
  cut.add(0, 4, image_of(4), image_of(0));
  EXPECT_EQ(seen_by(cut, 2), (Keys{{3, 4}, {3, 4}}));
  cut.advance(Positions({4}, 2));
  EXPECT_TRUE(cut.can_trim(1));
  EXPECT_FALSE(cut.can_trim(2));
  EXPECT_THROW(cut.trim(2), Error);
  cut.trim(1);
  EXPECT_EQ(cut.positions(), std::vector<int>{5});
}

TEST(CrossCache, KeepsOnlyWhatLaterTokensSee) {
  CrossCache cache(1);
  EXPECT_TRUE(cache.arrays().empty());
  for (const int token : {0, 2}) cache.add(0, token, image_of(static_cast<float>(token)), image_of(0));
  EXPECT_EQ(cache.nbytes(), 16U);
  cache.advance(Positions({0}, 4));
  EXPECT_EQ(cache.nbytes(), 8U);
  EXPECT_EQ(seen_by(cache, 1), (std::vector<std::vector<float>>{{2}}));
}

TEST(CrossCache, JoinsAndGivesBackItsRows) {
  CrossCache text(1), seeing(1);
  seeing.add(0, 0, image_of(7), image_of(0));
  seeing.advance(Positions({0}, 3));
  const std::vector<Cache*> parts{&text, &seeing};
  auto batched = text.batch(parts);
  auto& both = dynamic_cast<CrossCache&>(*batched);
  const Positions at(both.positions(), 1);
  const auto seen = both.seen(at);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen.front().row, 1);
  both.advance(at);
  batched->unbatch();
  EXPECT_EQ(text.positions(), std::vector<int>{1});
  EXPECT_EQ(seeing.positions(), std::vector<int>{4});
  EXPECT_EQ(seen_by(seeing, 1), (std::vector<std::vector<float>>{{7}}));
}

TEST(RecurrentCacheState, JoinsAndGivesBackItsRows) {
  RecurrentCache first(1, 2), second(1, 2), fresh(1, 2);
  EXPECT_FALSE(first.state(0));
  first.set_state(0, mx::array({1.0F, 2.0F}, {1, 2}));
  first.advance(Positions({0}, 5));
  second.set_state(0, mx::array({3.0F, 4.0F}, {1, 2}));
  second.advance(Positions({0}, 2));
  const std::vector<Cache*> parts{&second, &fresh, &first};
  auto batched = second.batch(parts);
  EXPECT_EQ(batched->positions(), (std::vector<int>{2, 0, 5}));
  auto& state = dynamic_cast<RecurrentCache&>(*batched);
  EXPECT_EQ(numbers(*state.state(0)), (std::vector<float>{3, 4, 0, 0, 1, 2}));
  EXPECT_FALSE(state.state(1));
  state.set_state(0, mx::multiply(*state.state(0), mx::array(10.0F)));
  state.advance(Positions(batched->positions(), 1));
  batched->unbatch();
  EXPECT_EQ(numbers(*first.state(0)), (std::vector<float>{10, 20}));
  EXPECT_EQ(numbers(*second.state(0)), (std::vector<float>{30, 40}));
  EXPECT_EQ(first.positions(), std::vector<int>{6});
  EXPECT_EQ(fresh.positions(), std::vector<int>{1});
  EXPECT_FALSE(first.can_trim(1));
  EXPECT_THROW(first.trim(1), Error);
}

}  // namespace
}  // namespace mlxk
