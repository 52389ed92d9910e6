// Sequences together against each alone: the same tokens and the same bits of their log-probabilities, whoever joins,
// leaves, fails or is cancelled beside them.
#include <gtest/gtest.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>

#include "backend/generation.h"
#include "kernels/cpu_ops.h"
#include "models/load.h"
#include "nn/blocks.h"
#include "nn/cache/kv_cache.h"
#include "nn/cache/quantized_kv_cache.h"
#include "nn/cache/recurrent_cache.h"
#include "nn/cache/rotating_cache.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

/// A request, the round of steps in which it comes, and the one before which it is cancelled.
struct Arrival {
  GenerateRequest request;
  int at = 0;
  int cancelled_before = 1 << 30;
};

/// Steps a model until all have ended; the events of each.
std::vector<std::vector<Event>> run(TextModel& model, const std::vector<Arrival>& arrivals) {
  std::vector<std::vector<Event>> events(arrivals.size());
  std::map<size_t, std::unique_ptr<Sequence>> running;
  size_t ended = 0;
  for (int round = 0; ended < arrivals.size(); ++round) {
    for (size_t i = 0; i < arrivals.size(); ++i) {
      if (arrivals[i].at == round) running[i] = model.start(arrivals[i].request);
      if (arrivals[i].cancelled_before == round && running.erase(i) == 1) ++ended;
    }
    std::vector<Sequence*> sequences;
    std::vector<size_t> numbers;
    for (const auto& [number, sequence] : running) {
      numbers.push_back(number);
      sequences.push_back(sequence.get());
    }
    if (sequences.empty()) continue;
    model.step(sequences, [&](size_t index, const Event& event) { events[numbers[index]].push_back(event); });
    for (const size_t number : numbers) {
      const auto& all = events[number];
      if (all.empty()) continue;
      if (std::holds_alternative<DoneEvent>(all.back()) || std::holds_alternative<FailedEvent>(all.back())) {
        running.erase(number);
        ++ended;
      }
    }
  }
  return events;
}

std::vector<TokenEvent> tokens_of(const std::vector<Event>& events) {
  std::vector<TokenEvent> tokens;
  for (const Event& event : events) {
    if (const auto* token = std::get_if<TokenEvent>(&event)) tokens.push_back(*token);
  }
  return tokens;
}

void expect_same(const std::vector<TokenEvent>& got, const std::vector<TokenEvent>& want, size_t number) {
  for (size_t t = 0; t < std::min(got.size(), want.size()); ++t) {
    ASSERT_EQ(got[t].token, want[t].token) << "request " << number << ", token " << t;
    ASSERT_EQ(got[t].logprob, want[t].logprob) << "request " << number << ", token " << t;
    ASSERT_EQ(got[t].top.size(), want[t].top.size());
    for (size_t i = 0; i < got[t].top.size(); ++i) {
      ASSERT_EQ(got[t].top[i].token, want[t].top[i].token) << "request " << number << ", token " << t;
      ASSERT_EQ(got[t].top[i].logprob, want[t].top[i].logprob) << "request " << number << ", token " << t;
    }
  }
}

/// Each alone, then all together: the same, and those cancelled begin the same.
void expect_independent(TextModel& model, const std::vector<Arrival>& arrivals) {
  const auto together = run(model, arrivals);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    Arrival alone = arrivals[i];
    const bool cancelled = alone.cancelled_before < (1 << 30);
    alone.at = 0;
    alone.cancelled_before = 1 << 30;
    const auto events = run(model, {alone}).front();
    const auto got = tokens_of(together[i]), want = tokens_of(events);
    ASSERT_FALSE(want.empty());
    if (!cancelled) {
      EXPECT_EQ(got.size(), want.size()) << "request " << i;
      EXPECT_EQ(together[i].back().index(), events.back().index());
    }
    expect_same(got, want, i);
  }
}

GenerateRequest ask(int64_t length, int64_t vocab, int64_t max_tokens, int salt) {
  GenerateRequest request;
  for (int64_t i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>((i * 37 + salt * 101 + 11) % vocab));
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.top_logprobs = salt % 3 - 1;  // none, its own, the likeliest as well
  return request;
}

/// The requests of a busy moment: greedy and drawn, penalised, with prompts short and long (beside others cut into other
/// pieces than alone), coming and going.
std::vector<Arrival> busy(int64_t vocab, int64_t longest) {
  std::vector<Arrival> all;
  const int64_t lengths[] = {longest / 2, 1, 7, longest, 2, longest / 3};
  for (int i = 0; i < 6; ++i) {
    Arrival one{ask(lengths[i], vocab, 6 + 3 * i, i), 2 * i};
    if (i % 2 == 1) {
      one.request.sampling.temperature = 0.8F;
      one.request.sampling.seed = static_cast<uint64_t>(i);
    }
    if (i == 3) one.request.sampling.repetition_penalty = 1.3F;
    all.push_back(std::move(one));
  }
  all[4].cancelled_before = 14;
  return all;
}

// A model of two layers whose caches are of one kind, and a third that has a state.
class SmallModel : public Model {
 public:
  using MakeCache = std::function<std::unique_ptr<Cache>(int rows)>;
  static constexpr int kVocab = 96, kHidden = 64, kPoison = 95;

  explicit SmallModel(MakeCache make) : Model({"small", kVocab, kHidden, 3, 0}), make_(std::move(make)) {}

  mx::array forward(const Inputs& inputs, ModelCache& cache) override {
    const Positions at(cache.positions(), inputs.ids->shape(1));
    mx::array h = mx::take(table_, *inputs.ids, 0);
    for (size_t i = 0; i < 2; ++i) {
      auto& layer = dynamic_cast<AttentionCache&>(cache[i]);
      const auto parts = cpu_matmuls(h, qkv_);
      h = mx::add(h, attention_({parts[0], parts[1], parts[2], kHidden / 2, {}, {}}, layer, layer.mask(at), at));
    }
    auto& state = dynamic_cast<RecurrentCache&>(cache[2]);
    std::vector<mx::array> steps;
    for (int i = 0; i < at.length; ++i) {
      const mx::array x = mx::slice(h, {0, i, 0}, {at.rows(), i + 1, kHidden});
      const mx::array before = state.state(0) ? *state.state(0) : mx::zeros_like(x);
      state.set_state(0, mx::add(mx::multiply(before, mx::array(0.9F)), x));
      steps.push_back(*state.state(0));
    }
    state.advance(at);
    return cpu_matmuls(mx::slice(mx::concatenate(steps, 1), {0, at.length - 1, 0}, {at.rows(), at.length, kHidden}), head_)
        .front();
  }
  ModelCache make_cache(int rows) const override {
    std::vector<std::unique_ptr<Cache>> layers;
    for (int i = 0; i < 2; ++i) layers.push_back(make_(rows));
    layers.push_back(std::make_unique<RecurrentCache>(rows, 1));
    return ModelCache(std::move(layers));
  }

 private:
  /// Rows of which number kPoison holds `poison` alone: the token makes logits that are not finite, and is never the
  /// likeliest.
  static mx::array random_rows(int rows, uint64_t seed, float poison) {
    mx::array all = mx::multiply(mx::random::normal({rows, kHidden}, mx::random::key(seed)), mx::array(0.2F));
    const mx::array poisoned = mx::reshape(mx::equal(mx::arange(rows), mx::array(static_cast<int>(kPoison))), {rows, 1});
    all = mx::where(poisoned, mx::array(poison), all);
    all.eval();
    return all;
  }
  static CpuMatrix matrix(int rows, uint64_t seed) { return {random_rows(rows, seed, 0), {}, {}, {}, rows, kHidden}; }

  MakeCache make_;
  mx::array table_ = random_rows(kVocab, 1, std::nanf(""));
  std::shared_ptr<const CpuLayer> qkv_ = cpu_layer({matrix(kHidden, 2), matrix(kHidden / 2, 3), matrix(kHidden / 2, 4)});
  std::shared_ptr<const CpuLayer> head_ = cpu_layer({matrix(kVocab, 5)});
  Attention attention_{{}, {}, {}, 0.2F};
};

struct Kind {
  const char* name;
  SmallModel::MakeCache make;
};

class Batching : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
    model_ = make_text_model(std::make_unique<SmallModel>(GetParam().make));
  }
  std::unique_ptr<TextModel> model_;
};

TEST_P(Batching, ARequestsBitsDoNotDependOnTheOthers) { expect_independent(*model_, busy(SmallModel::kPoison, 300)); }

TEST_P(Batching, ARowWhoseLogitsAreNotFiniteFailsAlone) {
  std::vector<Arrival> arrivals{{ask(5, SmallModel::kPoison, 12, 1)}, {ask(9, SmallModel::kPoison, 12, 2)}};
  Arrival poisoned{ask(3, SmallModel::kPoison, 12, 3), 4};
  poisoned.request.prompt.push_back(SmallModel::kPoison);
  arrivals.push_back(poisoned);
  const auto events = run(*model_, arrivals);
  ASSERT_TRUE(std::holds_alternative<FailedEvent>(events[2].back()));
  EXPECT_NE(std::get<FailedEvent>(events[2].back()).message.find("not finite"), std::string::npos);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::holds_alternative<DoneEvent>(events[i].back()));
    expect_same(tokens_of(events[i]), tokens_of(run(*model_, {arrivals[i]}).front()), i);
  }
}

/// Even tokens only; it breaks, or throws, at its n-th token.
class EvenTokens : public TokenConstraint {
 public:
  EvenTokens(int breaks_at, int throws_at) : breaks_at_(breaks_at), throws_at_(throws_at) {}
  void allowed(std::span<uint32_t> mask) override {
    if (taken_ == throws_at_) throw std::runtime_error("a grammar that is lost");
    for (auto& word : mask) word = 0x55555555U;
  }
  bool accept(int32_t token) override { return token % 2 == 0 && ++taken_ != breaks_at_; }

 private:
  int breaks_at_, throws_at_, taken_ = 0;
};

TEST_P(Batching, GrammarsHoldForTheirOwnRowAndBreakAlone) {
  std::vector<Arrival> arrivals;
  for (int i = 0; i < 4; ++i) arrivals.push_back({ask(4 + i, SmallModel::kPoison, 10, i), i});
  arrivals[1].request.constraint = std::make_shared<EvenTokens>(-1, -1);
  arrivals[2].request.constraint = std::make_shared<EvenTokens>(3, -1);
  arrivals[3].request.constraint = std::make_shared<EvenTokens>(-1, 2);
  const auto events = run(*model_, arrivals);
  EXPECT_EQ(tokens_of(events[0]).size(), 10);
  EXPECT_EQ(tokens_of(events[1]).size(), 10);
  for (const auto& token : tokens_of(events[1])) EXPECT_EQ(token.token % 2, 0);
  EXPECT_EQ(tokens_of(events[2]).size(), 3);
  EXPECT_NE(std::get<FailedEvent>(events[2].back()).message.find("breaks the grammar"), std::string::npos);
  EXPECT_EQ(std::get<FailedEvent>(events[3].back()).message, "a grammar that is lost");
  arrivals[0].at = 0;
  expect_same(tokens_of(events[0]), tokens_of(run(*model_, {arrivals[0]}).front()), 0);
}

TEST_P(Batching, NothingIsLeftOnceAllAreGone) {
  size_t idle = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<Arrival> arrivals = busy(SmallModel::kPoison, 40);
    for (auto& one : arrivals) one.cancelled_before = 12;  // some in the prompt, some between two tokens
    run(*model_, arrivals);
    if (round == 0) idle = mx::get_active_memory();
    EXPECT_EQ(mx::get_active_memory(), idle);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Caches, Batching,
    testing::Values(Kind{"full", [](int rows) { return std::make_unique<KVCache>(rows); }},
                    Kind{"rotating", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 16); }},
                    Kind{"keeping", [](int rows) { return std::make_unique<RotatingKVCache>(rows, 16, 3); }},
                    Kind{"quantized", [](int rows) { return std::make_unique<QuantizedKVCache>(rows, 8, 32); }}),
    [](const auto& info) { return info.param.name; });

class TrainedBatching : public testing::TestWithParam<const char*> {};

TEST_P(TrainedBatching, ARequestsBitsDoNotDependOnTheOthers) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / GetParam();
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto model = make_text_model(load_model(folder, {}));
  expect_independent(*model, busy(40000, 700));
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedBatching,
                         testing::Values("SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"),
                         [](const auto& info) { return info.index == 0 ? "SmolLM2" : "Gemma3"; });

}  // namespace
}  // namespace mlxk
