// Trained models against numbers from mlx-lm 0.32.2 in float32. The folder MLXK_TEST_MODELS holds the models; the tests
// are skipped if it is not set.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "mlx/ops.h"
#include "models/load.h"

namespace mlxk {
namespace {

struct Trained {
  const char* folder;
  float last[6];    // the last position's first logits
  float fourth[6];  // the fourth position's
};

class TrainedModels : public testing::TestWithParam<Trained> {};

constexpr float kLargestLogit = 35;  // among those below

TEST_P(TrainedModels, GiveTheReferenceLogits) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  auto folder = std::filesystem::path(models ? models : "") / GetParam().folder;
  if (!models || !std::filesystem::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  auto model = load_model(folder);
  std::vector<int> ids{1, 504, 3575, 282, 4649, 314, 216, 7042, 28, 1192};
  for (int id = 500; id < 520; ++id) ids.push_back(id);
  Inputs inputs;
  inputs.ids = mx::array(ids.begin(), {1, static_cast<int>(ids.size())}, mx::int32);
  ModelCache cache = model->make_cache(1);
  mx::array logits = model->forward(inputs, cache);
  logits.eval();
  const float* last = logits.data<float>() + (ids.size() - 1) * model->vocab_size();
  const float* fourth = logits.data<float>() + 3 * model->vocab_size();
  // A CPU product keeps 1e-4 of a row's largest value. Through all layers, and past these models' few very large
  // activations, no more than that share of the largest logit can be expected. tests/parity checks that the tokens are
  // right.
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(last[i], GetParam().last[i], 5e-4F * kLargestLogit);
    EXPECT_NEAR(fourth[i], GetParam().fourth[i], 5e-4F * kLargestLogit);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, TrainedModels,
    testing::Values(Trained{"SmolLM2-135M-Instruct-4bit",
                            {19.559242F, 5.786759F, 8.070226F, 3.6446023F, 3.580438F, 5.099107F},
                            {0.2103849F, -9.257106F, -7.136877F, -8.775726F, -9.648458F, -9.767645F}},
                    Trained{"gemma-3-270m-8bit",
                            {-8.228641F, 11.064006F, 1.5482326F, -8.268814F, -1.0273033F, -7.482448F},
                            {-30.993658F, -19.892506F, -20.089474F, -31.020555F, -28.36864F, -35.136948F}}),
    [](const auto& info) { return info.index == 0 ? "SmolLM2" : "Gemma3"; });

}  // namespace
}  // namespace mlxk
