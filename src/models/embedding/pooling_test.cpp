#include "models/embedding/pooling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/testing/golden_model.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

std::vector<float> floats(const mx::array& x) {
  mx::array all = mx::contiguous(x);
  all.eval();
  return {all.data<float>(), all.data<float>() + all.size()};
}

// Texts of one and of three tokens.
const std::vector<int> kLengths{1, 3};
mx::array states() {
  const float values[] = {1, 2, 3, -1, 5, 4, 1, 3};
  return mx::array(values, {4, 2});
}

std::vector<float> pooled(Pooling pooling, const std::vector<int>& skipped = {}) {
  return floats(pool(pooling, states(), kLengths, skipped));
}

TEST(Pool, IsSentenceTransformers) {
  using Floats = std::vector<float>;
  EXPECT_EQ(pooled(Pooling::cls), (Floats{1, 2, 3, -1}));
  EXPECT_EQ(pooled(Pooling::max), (Floats{1, 2, 5, 4}));
  EXPECT_EQ(pooled(Pooling::mean), (Floats{1, 2, 3, 2}));
  const float root = std::sqrt(3.0F);
  EXPECT_EQ(pooled(Pooling::mean_sqrt_len_tokens), (Floats{1, 2, 9 / root, 6 / root}));
  EXPECT_EQ(pooled(Pooling::weightedmean), (Floats{1, 2, 16.0F / 6, 16.0F / 6}));
  EXPECT_EQ(pooled(Pooling::lasttoken), (Floats{1, 2, 1, 3}));
}

TEST(Pool, LeavesOutAPromptsTokensButNeverAll) {
  EXPECT_EQ(pooled(Pooling::mean, {1, 2}), (std::vector<float>{1, 2, 1, 3}));
  EXPECT_EQ(pooled(Pooling::mean, {0, 1}), (std::vector<float>{1, 2, 3, 3.5F}));
  EXPECT_EQ(pooled(Pooling::max, {0, 1}), (std::vector<float>{1, 2, 5, 4}));
}

TEST(Pool, OfSpladeTakesTheLargestOrTheSum) {
  const float logits[] = {0, std::exp(1.0F) - 1, -5, 0, 0, std::exp(2.0F) - 1};
  const mx::array x(logits, {2, 3});
  const auto near = [](const mx::array& y, std::vector<float> wanted) {
    const auto got = floats(y);
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5);
  };
  near(pool(SpladePooling{}, x), {0, 1, 2});
  near(pool(SpladePooling{.sum = true}, mx::concatenate({x, x}, 0)), {0, 2, 4});
  near(pool(SpladePooling{.twice = true}, x), {0, std::log1p(1.0F), std::log1p(2.0F)});
}

class EmbeddingHeadTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(dir_ / "2_Dense");
    const float weight[] = {1, 0, 0, 2, 1, 1}, bias[] = {0, 0, 1};
    save({{"linear.weight", mx::array(weight, {3, 2})}, {"linear.bias", mx::array(bias, {3})}});
  }
  void TearDown() override { fs::remove_all(dir_); }
  void save(std::unordered_map<std::string, mx::array> tensors) {
    mx::save_safetensors((dir_ / "2_Dense" / "model.safetensors").string(), std::move(tensors));
  }

  const fs::path dir_ = golden::temp_folder("embedding_head");
};

TEST_F(EmbeddingHeadTest, PoolsMultipliesCutsAndNormalises) {
  const EmbeddingPipeline pipeline{{Pooling::mean}, true, {{"2_Dense", "Identity"}}, true};
  const EmbeddingHead head(pipeline, dir_, 2);
  EXPECT_EQ(head.dimensions(), 3);
  const auto all = floats(head(states(), kLengths));
  const float length = std::sqrt(1.0F + 16 + 16);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(all[static_cast<size_t>(i)], (i == 0 ? 1 : 4) / length, 1e-3);
  const auto cut = floats(head(states(), kLengths, {}, 2));
  ASSERT_EQ(cut.size(), 4U);
  EXPECT_NEAR(cut[0], 1 / std::sqrt(17.0F), 1e-3);
  EXPECT_THROW(head(states(), kLengths, {}, 4), Error);
}

TEST_F(EmbeddingHeadTest, GivesEachTokenAUnitVector) {
  const EmbeddingHead head({.dense = {{"2_Dense", "Identity"}}, .token_vectors = true}, dir_, 2);
  EXPECT_EQ(head.dimensions(), 3);
  const auto vectors = floats(head.token_vectors(states()));
  ASSERT_EQ(vectors.size(), 12);
  // The first token is (1, 2): (1, 4, 3 + 1) of length √33.
  const float length = std::sqrt(33.0F);
  EXPECT_NEAR(vectors[0], 1 / length, 1e-4);
  EXPECT_NEAR(vectors[1], 4 / length, 1e-4);
  EXPECT_NEAR(vectors[2], 4 / length, 1e-4);
}

TEST_F(EmbeddingHeadTest, ConcatenatesSeveralPoolings) {
  const EmbeddingHead head({{Pooling::cls, Pooling::max}, true, {}, false}, dir_, 2);
  EXPECT_EQ(floats(head(states(), kLengths)), (std::vector<float>{1, 2, 1, 2, 3, -1, 5, 4}));
}

TEST_F(EmbeddingHeadTest, RefusesMatricesThatDoNotFit) {
  const auto message = [&](const EmbeddingPipeline& pipeline, int hidden) -> std::string {
    try {
      EmbeddingHead(pipeline, dir_, hidden);
      return "none";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(message({{Pooling::cls}, true, {{"2_Dense", "Identity"}}, false}, 4),
            "[2_Dense] linear.weight must be [out, 4]");
  EXPECT_EQ(message({{Pooling::cls}, true, {{"2_Dense", "Softplus"}}, false}, 2),
            "[2_Dense] activation_function 'Softplus' is not built in");
  save({{"linear.weight", mx::zeros({3, 2})}, {"other", mx::zeros({1})}});
  EXPECT_NE(message({{Pooling::cls}, true, {{"2_Dense", "Tanh"}}, false}, 2).find("unknown: other"), std::string::npos);
}

}  // namespace
}  // namespace mlxk
