// Attention alone. bytes_per_second counts keys and values once a call, items_per_second multiply-adds.
#include <benchmark/benchmark.h>

#include <random>

#include "cpu/attention.h"
#include "cpu/features.h"

namespace mlxk {
namespace {

using benchmark::State;

std::vector<float> random_floats(int64_t count) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> even(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (auto& value : values) value = even(random);
  return values;
}

/// Layers of keys and values, more than the caches hold: each call takes the next one, as a model does.
struct Layers {
  Layers(int64_t kv_heads, int64_t tokens, int64_t head_dim, FloatType type) : type(type) {
    const int64_t item = type == kFloat32 ? 4 : 2, head = tokens * head_dim * item;
    bytes = 2 * kv_heads * head;
    count = std::max<int64_t>(2, (int64_t{256} << 20) / bytes);
    memory.assign(static_cast<size_t>(count * bytes / 4), 0x3C003C00);  // 1 in float16, a small number in other types
    rows = {nullptr, 0, head, head_dim * item};
  }
  void next(AttentionProblem& p) {
    char* data = reinterpret_cast<char*>(memory.data()) + at * bytes;
    p.k = {rows, std::nullopt, type};
    p.v = p.k;
    p.k.stored.data = data;
    p.v.stored.data = data + bytes / 2;
    at = (at + 1) % count;
  }
  FloatType type;
  std::vector<uint32_t> memory;
  HeadRows<const char> rows{};
  int64_t bytes = 0, count = 0, at = 0;
};

void attention(State& state, Phase phase, int64_t heads, int64_t kv_heads, int64_t head_dim, FloatType type,
               int64_t window = 0) {
  const int64_t length = phase == Phase::decode ? 1 : state.range(1), tokens = state.range(0) + length;
  Layers layers(kv_heads, tokens, head_dim, type);
  const auto q = random_floats(heads * length * head_dim);
  std::vector<float> y(q.size());
  AttentionProblem p{1, heads, kv_heads, length, head_dim, head_dim, {tokens}, 0.125F, true};
  p.q = {q.data(), 0, length * head_dim, head_dim};
  p.out = {y.data(), 0, length * head_dim, head_dim};
  p.window = window;
  for (auto _ : state) {
    layers.next(p);
    attend(p, phase);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * layers.bytes);
  state.SetItemsProcessed(state.iterations() * heads * length * (tokens - length / 2) * head_dim * 2);
}

void decode(State& state, int64_t heads, int64_t kv_heads, int64_t head_dim, FloatType type) {
  attention(state, Phase::decode, heads, kv_heads, head_dim, type);
}
void prefill(State& state, int64_t heads, int64_t kv_heads, int64_t head_dim, FloatType type) {
  attention(state, Phase::prefill, heads, kv_heads, head_dim, type);
}

#define MLXK_DEPTHS ->ArgName("keys")->Arg(128)->Arg(512)->Arg(2048)->Arg(8192)->UseRealTime()
#define MLXK_CHUNKS ->ArgNames({"keys", "queries"})->Args({0, 512})->Args({1536, 512})->Args({7680, 512})->UseRealTime()
BENCHMARK_CAPTURE(decode, 9_heads_3_64, 9, 3, 64, kFloat32) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 9_heads_3_64_half, 9, 3, 64, kFloat16) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 32_heads_8_64, 32, 8, 64, kFloat32) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 32_heads_8_128, 32, 8, 128, kFloat32) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 32_heads_8_128_half, 32, 8, 128, kFloat16) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 32_heads_8_128_brain, 32, 8, 128, kBFloat16) MLXK_DEPTHS;
BENCHMARK_CAPTURE(decode, 16_heads_16_80, 16, 16, 80, kFloat32) MLXK_DEPTHS;
BENCHMARK_CAPTURE(prefill, 9_heads_3_64, 9, 3, 64, kFloat32) MLXK_CHUNKS;
BENCHMARK_CAPTURE(prefill, 9_heads_3_64_half, 9, 3, 64, kFloat16) MLXK_CHUNKS;
BENCHMARK_CAPTURE(prefill, 32_heads_8_128, 32, 8, 128, kFloat32) MLXK_CHUNKS;
BENCHMARK_CAPTURE(prefill, 16_heads_16_80, 16, 16, 80, kFloat32) MLXK_CHUNKS;

/// The sum of `window` tokens' worth of keys at any depth.
void sliding(State& state) { attention(state, Phase::prefill, 4, 1, 256, kFloat32, 512); }
BENCHMARK(sliding)->ArgNames({"keys", "queries"})->Args({0, 512})->Args({7680, 512})->UseRealTime();

void score_weights(State& state) {
  const auto scores = random_floats(256);
  auto s = scores;
  float most = 0, sum = 0;
  for (auto _ : state) {
    s = scores;
    cpu_kernels().score_weights(s.data(), 256, &most, &sum);
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(score_weights);

}  // namespace
}  // namespace mlxk
