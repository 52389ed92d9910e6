#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "backend/mlx_backend.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "worker/request.h"

// The engine's greedy tokens against tests/data/parity (tools/make_text_goldens.py): no tokenizer, no template.
namespace mlxk {
namespace {

struct Answer {
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::cancelled;
};

Answer run_greedy(TextModel& model, std::vector<int32_t> prompt, int64_t max_tokens, std::vector<int32_t> eos) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.eos_token_ids = std::move(eos);
  const auto sequence = model.start(std::move(request));
  Answer answer;
  Sequence* const running[] = {sequence.get()};
  for (bool ended = false; !ended;) {
    model.step(running, [&](size_t, const Event& event) {
      if (const auto* token = std::get_if<TokenEvent>(&event)) answer.tokens.push_back(token->token);
      if (const auto* done = std::get_if<DoneEvent>(&event)) answer.reason = done->reason;
      if (const auto* failed = std::get_if<FailedEvent>(&event)) ADD_FAILURE() << failed->message;
      ended = std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event);
    });
  }
  return answer;
}

std::vector<int32_t> eos_ids(const std::filesystem::path& model_dir) {
  const Json eos = read_json(model_dir / "config.json").at("eos_token_id");
  return eos.is_array() ? eos.get<std::vector<int32_t>>() : std::vector<int32_t>{eos.get<int32_t>()};
}

class TokenParity : public testing::TestWithParam<const char*> {};

TEST_P(TokenParity, GreedyTokensAreMlxLms) {
  const Json golden = read_json(std::string(test_tree::kTestData) + "/parity/" + GetParam());
  const char* root = std::getenv("MLXK_TEST_MODELS");
  if (!root) GTEST_SKIP() << "MLXK_TEST_MODELS is not set";
  const std::filesystem::path dir = std::filesystem::path(root) / golden.at("model").get<std::string>();
  if (!std::filesystem::exists(dir / "config.json")) GTEST_SKIP() << dir << " is not there";

  MlxBackend backend;
  const auto model = load_text(backend, dir);
  for (const Json& one : golden.at("cases")) {
    SCOPED_TRACE(one.at("name").get<std::string>());
    const auto want = one.at("token_ids").get<std::vector<int32_t>>();
    const Answer got = run_greedy(*model, one.at("prompt_ids").get<std::vector<int32_t>>(),
                                  golden.at("max_tokens").get<int64_t>(), eos_ids(dir));
    EXPECT_EQ(got.reason == FinishReason::stop, one.at("finish_reason") == "stop");
    if (got.tokens == want) continue;
    const auto differ = std::mismatch(want.begin(), want.end(), got.tokens.begin(), got.tokens.end());
    const auto step = static_cast<size_t>(differ.first - want.begin());
    ADD_FAILURE() << "token " << step << " differs, where mlx-lm's two likeliest are "
                  << one.at("gaps").at(std::min(step, one.at("gaps").size() - 1)) << " apart; got "
                  << testing::PrintToString(got.tokens) << ", want " << testing::PrintToString(want);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TokenParity, testing::Values("smollm2.json", "gemma3.json"),
                         [](const auto& info) { return std::filesystem::path(info.param).stem().string(); });

}  // namespace
}  // namespace mlxk
