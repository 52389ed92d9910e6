// Models with recurrent states: requests with a prefix cache in memory and on disk, with other requests beside them,
// and with drafts, against each request alone.
#include <gtest/gtest.h>

#include <filesystem>

#include "backend/generation.h"
#include "backend/testing/runs.h"
#include "kernels/cpu_op.h"
#include "models/load.h"
#include "models/testing/golden_model.h"
#include "worker/request.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr int kVocab = 128;

class RecurrentModels : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
    folder_ = golden::write_model(GetParam(), golden::temp_folder(std::string("backend_") + GetParam()));
    plain_ = load({});
  }
  void TearDown() override {
    plain_.reset();
    fs::remove_all(folder_);
  }
  std::unique_ptr<TextModel> load(const LoadOptions& options) const {
    return make_text_model(load_model(folder_), options, std::string(64, 'a'));
  }
  /// Expects the answer without a cache; returns how much of the prompt was cached.
  int64_t ask_for(TextModel& model, const std::vector<int32_t>& prompt) const {
    GenerateRequest request;
    request.prompt = prompt;
    request.sampling.temperature = 0;
    request.max_tokens = 4;
    request.top_logprobs = 2;
    const auto events = run(model, {{request}}).front();
    expect_same(tokens_of(events), tokens_of(run(*plain_, {{request}}).front()), 0);
    return std::get<DoneEvent>(events.back()).usage.cached_tokens;
  }
  static std::vector<int32_t> words(int64_t length, int salt, std::vector<int32_t> more = {}) {
    std::vector<int32_t> all = ask(length, kVocab, 1, salt).prompt;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  fs::path folder_;
  std::unique_ptr<TextModel> plain_;
};

TEST_P(RecurrentModels, StatesOfPromptsAreKept) {
  LoadOptions options;
  options.prefix_cache_bytes = uint64_t{1} << 30;
  const auto model = load(options);
  EXPECT_EQ(ask_for(*model, words(200, 1)), 0);
  EXPECT_EQ(ask_for(*model, words(200, 1)), 199);
  EXPECT_EQ(ask_for(*model, words(200, 1, {3, 1, 4})), 199);
  EXPECT_EQ(ask_for(*model, words(130, 1, {5, 6, 7})) % 130,
            0);  // where the two prompts diverge, a state is saved the second time
  EXPECT_EQ(ask_for(*model, words(130, 1, {8, 9})), 130);
}

TEST_P(RecurrentModels, StatesOutliveTheProcessOnDisk) {
  LoadOptions options;
  options.prefix_cache_bytes = options.prefix_cache_disk_bytes = uint64_t{1} << 30;
  options.prefix_cache_dir = folder_ / "prefixes";
  EXPECT_EQ(ask_for(*load(options), words(200, 1)), 0);
  EXPECT_EQ(ask_for(*load(options), words(200, 1, {1, 2, 3})), 199);
}

TEST_P(RecurrentModels, RequestsComeAndGo) {
  std::vector<Arrival> arrivals;
  for (int i = 0; i < 5; ++i) arrivals.push_back({ask(10 + 50 * i, kVocab, 6 + i, i), i});
  const auto got = run(*plain_, arrivals);
  for (size_t i = 0; i < arrivals.size(); ++i) {
    expect_same(tokens_of(got[i]), tokens_of(run(*plain_, {{arrivals[i].request}}).front()), i);
  }
}

TEST_P(RecurrentModels, NothingIsGuessedWhereAStateCannotGoBack) {
  LoadOptions options;
  options.prompt_lookup = PromptLookup::on;
  const auto guessing = load(options);
  const Arrival arrival{ask(40, 7, 12, 1)};  // its tokens repeat
  expect_same(tokens_of(run(*guessing, {arrival}).front()), tokens_of(run(*plain_, {arrival}).front()), 0);
  EXPECT_EQ(guessing->cache_facts().drafted_tokens, 0U);
}

TEST_P(RecurrentModels, MemoryIsThatOfStatesAndKeys) {
  const uint64_t one = plain_->kv_bytes(1), many = plain_->kv_bytes(4000);
  EXPECT_GT(one, 0U);
  const std::string name = GetParam();
  const bool attends = name != "mamba2" && name != "rwkv7" && name != "recurrent_gemma";  // or within a window
  EXPECT_EQ(many > one, attends);
}

INSTANTIATE_TEST_SUITE_P(Tiny, RecurrentModels,
                         testing::Values("lfm2", "mamba2", "falcon_h1", "nemotron_h", "jamba", "recurrent_gemma",
                                         "rwkv7"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mlxk
