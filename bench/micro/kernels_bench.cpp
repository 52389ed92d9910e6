// The CPU kernels alone, at the shapes of a 1B Llama. bytes_per_second counts the weights (or the keys and values) once
// a call, items_per_second multiply-adds of the products.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>

#include "cpu/features.h"
#include "cpu/matmul.h"
#include "cpu/phase.h"
#include "cpu/threads.h"
#include "kernels/cpu/cached_attention.h"
#include "mlx/mlx.h"

namespace mlxk {
namespace {

using benchmark::State;

std::vector<float> random_floats(int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (auto& value : values) value = normal(random);
  return values;
}

/// Copies of a matrix, more than the caches hold: each call takes the next, as the layers of a model do.
struct Matrices {
  Matrices(int64_t rows, int64_t columns, int bits, int64_t working_set = int64_t{256} << 20) {
    const int64_t row_bytes = columns * bits / 8;
    const int64_t factor_bytes = bits < 16 ? columns / kGroup * 2 : 0;
    bytes = rows * (row_bytes + 2 * factor_bytes);
    const int64_t count = std::max<int64_t>(1, working_set / bytes);
    std::mt19937 random(1);
    std::vector<uint16_t> words(static_cast<size_t>(bytes / 2));
    for (auto& word : words) {  // as bfloat16: ±[2^-7, 2^-6)
      word = static_cast<uint16_t>(bits == 16 ? (random() & 0x807F) | 120 << 7 : random());
    }
    // Scales and biases last.
    for (size_t i = static_cast<size_t>(rows * row_bytes / 2); i < words.size(); ++i) words[i] = 120 << 7;
    for (int64_t i = 0; i < count; ++i) copies.push_back(words);
    for (const auto& copy : copies) {
      const auto* data = reinterpret_cast<const uint8_t*>(copy.data());
      MatrixView view{.data = data, .rows = rows, .columns = columns, .type = kBFloat16};
      if (bits < 16) {
        view.bits = bits;
        view.group = kGroup;
        view.scales = data + rows * row_bytes;
        view.biases = data + rows * (row_bytes + factor_bytes);
      }
      views.push_back(view);
    }
  }

  static constexpr int kGroup = 64;
  std::vector<std::vector<uint16_t>> copies;
  std::vector<MatrixView> views;
  int64_t bytes = 0;
};

void product(State& state, Phase phase) {
  constexpr int64_t kRows = 8192, kColumns = 2048;
  const auto bits = static_cast<int>(state.range(0));
  const int64_t n = state.range(1);
  const Matrices matrices(kRows, kColumns, bits);
  const auto x = random_floats(n * kColumns);
  std::vector<float> y(static_cast<size_t>(n * kRows));
  float* out = y.data();
  size_t next = 0;
  for (auto _ : state) {
    multiply({&matrices.views[next], 1}, x.data(), n, {&out, 1}, phase);
    next = (next + 1) % matrices.views.size();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * matrices.bytes);
  state.SetItemsProcessed(state.iterations() * n * kRows * kColumns);
}
void decode_product(State& state) { product(state, Phase::decode); }
void prefill_product(State& state) { product(state, Phase::prefill); }
BENCHMARK(decode_product)
    ->ArgNames({"bits", "rows"})
    ->ArgsProduct({{2, 3, 4, 5, 6, 8, 16}, {1, 2, 4, 8, 16, 32}})
    ->UseRealTime();
BENCHMARK(prefill_product)->ArgNames({"bits", "rows"})->ArgsProduct({{4, 8, 16}, {33, 512}})->UseRealTime();

/// The products of a decode step alone, layer by layer; range 0 and 1: hidden and intermediate size, 2: bits, 3:
/// layers.
void decode_layers(State& state) {
  const int64_t hidden = state.range(0), wide = state.range(1), layers = state.range(3);
  const auto bits = static_cast<int>(state.range(2));
  std::vector<Matrices> weights;
  int64_t bytes = 0;
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{hidden, hidden},
                                                                              {hidden / 3, hidden},
                                                                              {hidden / 3, hidden},
                                                                              {hidden, hidden},
                                                                              {wide, hidden},
                                                                              {wide, hidden},
                                                                              {hidden, wide}}) {
    weights.emplace_back(rows, columns, bits, rows * columns * bits / 8 * 5 / 4 * layers);
    bytes += weights.back().bytes * layers;
  }
  const auto x = random_floats(wide);
  std::vector<std::vector<float>> ys;
  for (const auto& w : weights) ys.emplace_back(static_cast<size_t>(w.views[0].rows));
  const auto times = [&](size_t first, size_t count, size_t layer) {
    std::vector<MatrixView> views;
    std::vector<float*> outs;
    for (size_t m = first; m < first + count; ++m) {
      views.push_back(weights[m].views[layer % weights[m].views.size()]);
      outs.push_back(ys[m].data());
    }
    multiply(views, x.data(), 1, outs, Phase::decode);
  };
  for (auto _ : state) {
    for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
      times(0, 3, layer);
      times(3, 1, layer);
      times(4, 2, layer);
      times(6, 1, layer);
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}
BENCHMARK(decode_layers)
    ->ArgNames({"hidden", "wide", "bits", "layers"})
    ->Args({576, 1536, 4, 30})
    ->Args({576, 1536, 4, 1})
    ->Args({2048, 8192, 4, 16})
    ->Args({2048, 8192, 8, 16})
    ->Args({2048, 8192, 16, 16})
    ->UseRealTime();

void attention(State& state) {
  constexpr int kHeads = 32, kKvHeads = 8, kHeadDim = 64;
  const auto length = static_cast<int>(state.range(0)), tokens = static_cast<int>(state.range(1));
  const auto random = [](int heads, int count) {
    auto a = mx::random::uniform(-1.0F, 1.0F, {1, heads, count, kHeadDim});
    mx::eval(a);
    return a;
  };
  const auto q = random(kHeads, length), k = random(kKvHeads, tokens), v = random(kKvHeads, tokens);
  const PhaseScope phase(length == 1 ? Phase::decode : Phase::prefill);
  for (auto _ : state) mx::eval(cpu_attention(q, k, v, 0.125F, "causal", std::nullopt));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(k.nbytes() + v.nbytes()));
}
BENCHMARK(attention)->ArgNames({"queries", "keys"})->ArgsProduct({{1, 512}, {512, 2048, 8192}})->UseRealTime();

void rms_norm(State& state) {
  const int64_t columns = state.range(0);
  const auto x = random_floats(columns), weight = random_floats(columns);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    cpu_kernels().rms_norm(x.data(), weight.data(), 1e-5F, columns, y.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * columns * 12);
}
BENCHMARK(rms_norm)->Arg(576)->Arg(2048)->Arg(4096);

void gated(State& state) {
  const int64_t columns = 8192;
  const auto gate = random_floats(columns), up = random_floats(columns);
  std::vector<float> y(gate.size());
  for (auto _ : state) {
    cpu_kernels().gated(gate.data(), up.data(), columns, static_cast<int>(state.range(0)), y.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * columns * 12);
}
BENCHMARK(gated)->ArgName("activation")->Arg(0)->Arg(1)->Arg(2);

void softmax(State& state) {
  const int64_t count = state.range(0);
  const auto scores = random_floats(count);
  auto y = scores;
  for (auto _ : state) {
    std::memcpy(y.data(), scores.data(), scores.size() * sizeof(float));
    cpu_kernels().softmax(y.data(), count);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * count * 8);
}
BENCHMARK(softmax)->Arg(512)->Arg(8192);

/// The overhead of a graph operation around a kernel: a minimal attention.
void graph_operation(State& state) {
  const auto x = mx::zeros({1, 1, 1, 16});
  mx::eval(x);
  for (auto _ : state) mx::eval(cpu_attention(x, x, x, 1, "", std::nullopt));
}
BENCHMARK(graph_operation)->UseRealTime();

}  // namespace
}  // namespace mlxk

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction_set", mlxk::cpu_kernels().name);
  benchmark::AddCustomContext("threads", std::to_string(mlxk::kernel_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
