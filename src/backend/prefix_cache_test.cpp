// Prompts that share a cached beginning against each one alone without a cache: the same tokens and the same bits of
// their log-probabilities.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "backend/generation.h"
#include "backend/testing/runs.h"
#include "backend/testing/small_model.h"
#include "models/load.h"
#include "worker/request.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPlenty = uint64_t{1} << 30;

GenerateRequest request_of(std::vector<int32_t> prompt, int64_t max_tokens = 4) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.top_logprobs = 2;
  return request;
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<int32_t> words(int64_t length, int64_t vocab, int salt) { return ask(length, vocab, 1, salt).prompt; }

int64_t cached_tokens(const std::vector<Event>& events) {
  return std::get<DoneEvent>(events.back()).usage.cached_tokens;
}

/// A model with a prefix cache, and the same model without.
struct Pair {
  std::unique_ptr<TextModel> keeping, plain;

  /// Expects the answers to all of `arrivals` to equal those that each gets alone without a cache.
  void expect_plain_answers(const std::vector<Arrival>& arrivals) {
    const auto got = run(*keeping, arrivals);
    for (size_t i = 0; i < arrivals.size(); ++i) {
      const auto want = run(*plain, {{arrivals[i].request}}).front();
      if (arrivals[i].cancelled_before == 1 << 30) {
        ASSERT_EQ(tokens_of(got[i]).size(), tokens_of(want).size());
        check_progress(got[i], static_cast<int64_t>(arrivals[i].request.prompt.size()));
      }
      expect_same(tokens_of(got[i]), tokens_of(want), i);
    }
  }
  static void check_progress(const std::vector<Event>& events, int64_t total) {
    int64_t done = 0;
    for (const Event& event : events) {
      const auto* progress = std::get_if<PrefillEvent>(&event);
      if (!progress) continue;
      EXPECT_EQ(progress->total, total);
      EXPECT_GT(progress->done, done);
      done = progress->done;
    }
    EXPECT_EQ(done, total - 1);
  }
  int64_t ask_for(const std::vector<int32_t>& prompt) {
    const auto events = run(*keeping, {{request_of(prompt)}}).front();
    expect_same(tokens_of(events), tokens_of(run(*plain, {{request_of(prompt)}}).front()), 0);
    return cached_tokens(events);
  }
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "mlxk-prefixes-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Case {
  SmallKind kind;
  bool has_state;
};

class Prefixes : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  }
  static std::unique_ptr<TextModel> model(uint64_t budget) {
    LoadOptions options;
    options.prefix_cache_bytes = budget;
    return make_text_model(std::make_unique<SmallModel>(GetParam().kind.make, GetParam().has_state), options);
  }
  static std::unique_ptr<TextModel> model_on_disk(const fs::path& dir, const std::string& identity,
                                                  uint64_t disk_bytes) {
    LoadOptions options;
    options.prefix_cache_bytes = kPlenty;
    options.prefix_cache_dir = dir;
    options.prefix_cache_disk_bytes = disk_bytes;
    return make_text_model(std::make_unique<SmallModel>(GetParam().kind.make, GetParam().has_state), options, identity);
  }
  static Pair pair(uint64_t budget) { return {model(budget), model(0)}; }
  static bool needs_states() {
    return GetParam().has_state || std::string(GetParam().kind.name) == "rotating" ||
           std::string(GetParam().kind.name) == "keeping";
  }
};

TEST_P(Prefixes, AKeptPromptIsNotComputedAgain) {
  Pair models = pair(kPlenty);
  const auto prompt = words(200, SmallModel::kPoison, 1);
  EXPECT_EQ(models.ask_for(prompt), 0);
  EXPECT_EQ(models.ask_for(prompt), 199);
  EXPECT_EQ(models.ask_for(joined(prompt, {3, 1, 4})), 199);
  EXPECT_EQ(models.ask_for(joined(prompt, {3, 1, 4, 1, 5})), 202);
  const auto facts = models.keeping->cache_facts();
  EXPECT_EQ(facts.hit_tokens, 600U);
  EXPECT_EQ(facts.lookup_tokens, 200U + 200 + 203 + 205);
  EXPECT_GT(facts.prefix_bytes, 0U);
}

TEST_P(Prefixes, PromptsThatPartAreSharedUpToThere) {
  Pair models = pair(kPlenty);
  const auto system = words(130, SmallModel::kPoison, 1);
  const auto with = [&](int salt) { return joined(system, words(20, SmallModel::kPoison, salt)); };
  EXPECT_EQ(models.ask_for(with(20)), 0);
  // If a state is needed, the second prompt shows where saving one is worthwhile.
  const int64_t window = GetParam().has_state ? 0 : 16;
  const int64_t common = 130 + (with(20)[130] == with(31)[130] ? 1 : 0);
  EXPECT_EQ(models.ask_for(with(31)), needs_states() ? window : common);
  EXPECT_EQ(models.ask_for(with(42)), 130);
}

TEST_P(Prefixes, PromptsThatComeTogetherAreComputedOnce) {
  Pair models = pair(kPlenty);
  const auto prompt = words(700, SmallModel::kPoison, 1);
  std::vector<Arrival> arrivals;
  for (int i = 0; i < 4; ++i) arrivals.push_back({request_of(prompt)});
  arrivals.push_back({request_of(joined(words(600, SmallModel::kPoison, 1), {5, 6, 7})), 1});
  const auto events = run(*models.keeping, arrivals);
  EXPECT_EQ(cached_tokens(events[0]), 0);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(cached_tokens(events[i]), 699) << i;
  EXPECT_EQ(cached_tokens(events[4]), 600);
  models.expect_plain_answers(arrivals);
}

TEST_P(Prefixes, OneThatIsWaitedForMayBeCancelled) {
  Pair models = pair(kPlenty);
  const auto prompt = words(900, SmallModel::kPoison, 1);
  std::vector<Arrival> arrivals{{request_of(prompt)}, {request_of(prompt)}, {request_of(prompt)}};
  arrivals[0].cancelled_before = 1;
  models.expect_plain_answers(arrivals);
}

TEST_P(Prefixes, ScopesShareNothing) {
  Pair models = pair(kPlenty);
  const auto prompt = words(100, SmallModel::kPoison, 1);
  auto one = request_of(prompt), other = request_of(prompt);
  one.cache_scope = "one";
  other.cache_scope = "other";
  const auto together = run(*models.keeping, {{one}, {other}, {request_of(prompt)}});
  for (const auto& events : together) EXPECT_EQ(cached_tokens(events), 0);
  EXPECT_EQ(cached_tokens(run(*models.keeping, {{other}}).front()), 99);
}

TEST_P(Prefixes, RandomPromptsUnderALittleMemoryGetTheirOwnAnswers) {
  for (const uint64_t budget : {uint64_t{200'000}, kPlenty}) {
    Pair models = pair(budget);
    std::mt19937 random(7);
    for (int round = 0; round < 4; ++round) {
      std::vector<Arrival> arrivals;
      for (int i = 0; i < 8; ++i) {
        auto prompt =
            words(1 + static_cast<int64_t>(random() % 160), SmallModel::kPoison, static_cast<int>(random() % 2));
        prompt = joined(prompt, words(1 + static_cast<int64_t>(random() % 90), SmallModel::kPoison,
                                      5 + static_cast<int>(random() % 2)));
        Arrival one{request_of(prompt, 1 + static_cast<int64_t>(random() % 5)), static_cast<int>(random() % 6)};
        if (random() % 4 == 0) one.cancelled_before = one.at + 1 + static_cast<int>(random() % 4);
        one.request.cache_scope = std::string(random() % 4 == 0, 'x');
        arrivals.push_back(one);
      }
      models.expect_plain_answers(arrivals);
      EXPECT_LE(models.keeping->cache_facts().prefix_bytes, budget);
    }
  }
}

TEST_P(Prefixes, APromptOutlivesTheProcessOnDisk) {
  const TemporaryFolder folder;
  const std::string identity(64, 'a');
  const auto prompt = words(200, SmallModel::kPoison, 1), longer = joined(prompt, {1, 2, 3});
  {
    Pair first{model_on_disk(folder.path(), identity, kPlenty), model(0)};
    EXPECT_EQ(first.ask_for(prompt), 0);
  }
  {
    Pair second{model_on_disk(folder.path(), identity, kPlenty), model(0)};
    EXPECT_EQ(second.keeping->cache_facts().prefix_bytes, 0U);
    EXPECT_GT(second.keeping->cache_facts().prefix_disk_bytes, 0U);
    EXPECT_EQ(second.keeping->cached_tokens(request_of(longer)), 199);
    EXPECT_EQ(second.ask_for(longer), 199);
    auto other = request_of(longer);
    other.cache_scope = "other";
    EXPECT_EQ(cached_tokens(run(*second.keeping, {{other}}).front()), 0);
  }
  Pair foreign{model_on_disk(folder.path(), std::string(64, 'b'), kPlenty), model(0)};
  EXPECT_EQ(foreign.ask_for(longer), 0);
}

TEST_P(Prefixes, ADamagedFileIsComputedAgain) {
  const TemporaryFolder folder;
  const std::string identity(64, 'a');
  const auto prompt = words(200, SmallModel::kPoison, 1);
  {
    Pair{model_on_disk(folder.path(), identity, kPlenty), model(0)}.ask_for(prompt);
  }
  int files = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder.path())) {
    if (!file.is_regular_file()) continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    const bool in_head = ++files % 2 == 0;
    bytes.seekp(in_head ? 40 : -3, in_head ? std::ios::beg : std::ios::end);
    bytes.put('!');
  }
  EXPECT_GT(files, 2);
  Pair second{model_on_disk(folder.path(), identity, kPlenty), model(0)};
  EXPECT_LT(second.ask_for(prompt), 199);
}

TEST_P(Prefixes, FifosAndLinksAmongTheFilesHoldUpNothing) {
  const TemporaryFolder folder;
  const std::string identity(64, 'a');
  const auto prompt = words(200, SmallModel::kPoison, 1);
  {
    Pair{model_on_disk(folder.path(), identity, kPlenty), model(0)}.ask_for(prompt);
  }
  std::vector<fs::path> files;
  for (const auto& file : fs::recursive_directory_iterator(folder.path())) {
    if (file.is_regular_file()) files.push_back(file.path());
  }
  ASSERT_GT(files.size(), 1U);
  for (size_t i = 0; i < files.size(); ++i) {
    fs::remove(files[i]);
    if (i % 2 == 0) {
      ASSERT_EQ(mkfifo(files[i].c_str(), 0600), 0);
    } else {
      fs::create_symlink("/dev/zero", files[i]);
    }
  }
  Pair second{model_on_disk(folder.path(), identity, kPlenty), model(0)};
  EXPECT_EQ(second.ask_for(prompt), 0);
}

TEST_P(Prefixes, WhatDoesNotFitOnDiskMakesRoom) {
  const TemporaryFolder folder;
  const std::string identity(64, 'a');
  constexpr uint64_t kLittle = 60'000;
  const fs::path foreign = folder.path() / "photos" / "0-0123456789012345678901234567890123456789.kv";
  fs::create_directories(foreign.parent_path());
  std::ofstream(foreign) << std::string(kLittle, 'x');
  {
    Pair first{model_on_disk(folder.path(), identity, kLittle), model(0)};
    for (int salt = 0; salt < 8; ++salt) first.ask_for(words(100 + 20 * salt, SmallModel::kPoison, salt));
  }
  EXPECT_TRUE(fs::remove(foreign));
  uint64_t bytes = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder.path())) {
    if (file.is_regular_file()) bytes += file.file_size();
  }
  EXPECT_LE(bytes, kLittle);
  Pair second{model_on_disk(folder.path(), identity, kLittle), model(0)};
  for (int salt = 0; salt < 8; ++salt) second.ask_for(words(100 + 20 * salt, SmallModel::kPoison, salt));
}

TEST_P(Prefixes, ThePromptsTokensAreScoredAsIfTheyHadBeenChosen) {
  Pair models = pair(kPlenty);
  const auto prompt = words(150, SmallModel::kPoison, 1);
  models.ask_for(prompt);
  auto request = request_of(prompt);
  request.prompt_logprobs = true;
  const auto events = run(*models.keeping, {{request}}).front();
  EXPECT_EQ(cached_tokens(events), 0);
  std::vector<TokenEvent> scores;
  bool token_seen = false;
  for (const Event& event : events) {
    if (const auto* prompt_event = std::get_if<PromptEvent>(&event)) {
      EXPECT_FALSE(token_seen);
      EXPECT_TRUE(scores.empty());
      scores = prompt_event->tokens;
    }
    token_seen = token_seen || std::holds_alternative<TokenEvent>(event);
  }
  ASSERT_EQ(scores.size(), prompt.size() - 1);
  for (const size_t at : {size_t{1}, size_t{70}, prompt.size() - 1}) {
    const TokenEvent& score = scores[at - 1];
    EXPECT_EQ(score.token, prompt[at]);
    ASSERT_EQ(score.top.size(), 2U);
    EXPECT_GE(score.top[0].logprob, score.top[1].logprob);
    // The continuation of a prompt that ends there; decoding rounds differently.
    const auto ends =
        run(*models.plain, {{request_of({prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(at)}, 1)}});
    const TokenEvent next = tokens_of(ends.front()).front();
    EXPECT_EQ(score.top[0].token, next.token);
    EXPECT_NEAR(score.top[0].logprob, next.logprob, 1e-3);
  }
  expect_same(tokens_of(events), tokens_of(run(*models.plain, {{request_of(prompt)}}).front()), 0);
}

TEST_P(Prefixes, APromptOfOneTokenHasNoScores) {
  Pair models = pair(0);
  auto request = request_of({1}, 1);
  request.prompt_logprobs = true;
  const auto events = run(*models.keeping, {{request}}).front();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_TRUE(std::get<PromptEvent>(events[0]).tokens.empty());
}

TEST_P(Prefixes, ARequestNeedsNoMoreMemoryThanIsSaid) {
  const auto one = model(0);
  EXPECT_GT(one->kv_bytes(1), 0U);
  const auto grows = one->kv_bytes(4000) - one->kv_bytes(2000);
  const bool rings = std::string(GetParam().kind.name) == "rotating" || std::string(GetParam().kind.name) == "keeping";
  EXPECT_EQ(grows > 0, !rings);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const SmallKind& kind : kSmallKinds) {
    all.push_back({kind, false});
    all.push_back({kind, true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Caches, Prefixes, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.kind.name) + (info.param.has_state ? "WithState" : "");
});

class TrainedPrefixes : public testing::TestWithParam<const char*> {};

TEST_P(TrainedPrefixes, AnswersAreThoseWithoutAnythingKept) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / GetParam();
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  LoadOptions options;
  options.prefix_cache_bytes = kPlenty;
  Pair pair{make_text_model(load_model(folder, {}), options), make_text_model(load_model(folder, {}))};
  const auto prompt = words(650, 40000, 1);
  EXPECT_EQ(pair.ask_for(prompt), 0);
  EXPECT_EQ(pair.ask_for(joined(prompt, words(30, 40000, 2))), 649);
  EXPECT_GE(pair.ask_for(joined(words(300, 40000, 1), words(30, 40000, 3))), 300);
  pair.expect_plain_answers(
      {{request_of(prompt)}, {request_of(joined(prompt, {1, 2, 3}))}, {request_of(words(900, 40000, 1))}});
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedPrefixes, testing::Values("SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"),
                         [](const auto& info) { return info.index == 0 ? "SmolLM2" : "Gemma3"; });

}  // namespace
}  // namespace mlxk
