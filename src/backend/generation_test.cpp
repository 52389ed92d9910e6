#include "backend/generation.h"

#include <gtest/gtest.h>
#include <mlx/memory.h>

#include <cstdlib>
#include <filesystem>

#include "models/load.h"
#include "worker/request.h"

namespace mlxk {
namespace {

// The folder MLXK_TEST_MODELS holds trained models; the test is skipped if it is not set.
std::unique_ptr<TextModel> trained_model() {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = std::filesystem::path(models ? models : "") / "SmolLM2-135M-Instruct-4bit";
  if (!models || !std::filesystem::exists(folder)) return nullptr;
  return make_text_model(load_model(folder, {}));
}

GenerateRequest request() {
  GenerateRequest request;
  request.prompt = {1, 253, 1046, 338, 260, 3575, 282};
  request.max_tokens = 100;
  return request;
}

// A dropped step that still runs writes into freed memory (seen as a crash after Ctrl-C).
TEST(Generation, DroppingASequenceWaitsForTheStepUnderWay) {
  const auto model = trained_model();
  if (!model) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  size_t idle = 0;
  for (int round = 0; round < 20; ++round) {
    auto sequence = model->start(request());
    int events = 0;
    Sequence* const running[] = {sequence.get()};
    while (events < 3) model->step(running, [&](size_t, const Event&) { ++events; });
    sequence.reset();
    // No buffer of a step in flight is left, only the weights.
    if (round == 0) idle = mx::get_active_memory();
    ASSERT_EQ(mx::get_active_memory(), idle) << "round " << round;
  }
}

}  // namespace
}  // namespace mlxk
