#include "nn/rope.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "json/json.h"
#include "mlx/ops.h"
#include "mlx/random.h"

namespace mlxk {
namespace {

constexpr int kHeadDim = 16;

Rope rope_of(const char* json, bool traditional = false) {
  RopeSettings settings = RopeSettings::read(Config(parse_json(json, "test"), "test"), kHeadDim, 10000);
  settings.traditional = traditional;
  return Rope(settings);
}

mx::array heads(int rows, int length) {
  mx::array x = mx::random::normal({rows, 2, length, kHeadDim}, mx::random::key(1));
  x.eval();
  return x;
}

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

constexpr const char* kConfigs[] = {
    R"({})",
    R"({"partial_rotary_factor": 0.5})",
    R"({"rope_scaling": {"type": "linear", "factor": 4}})",
    R"({"rope_scaling": {"type": "dynamic", "factor": 2}, "max_position_embeddings": 16})",
    R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 32}})",
    R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16}})",
    R"({"rope_scaling": {"type": "su", "short_factor": [1,1,1,1,2,2,2,2], "long_factor": [4,4,4,4,5,5,5,5],
        "original_max_position_embeddings": 20}, "max_position_embeddings": 80})",
    R"({"rope_scaling": {"type": "proportional", "partial_rotary_factor": 0.5}})",
};

TEST(Rope, ExplicitPositionsTurnLikeTheSameOffset) {
  mx::array x = heads(2, 6);
  std::vector<int> table;
  for (int row = 0; row < 2; ++row) {
    for (int i = 0; i < 6; ++i) table.push_back(13 + i);
  }
  mx::array given(table.begin(), {2, 6}, mx::int32);
  for (const char* config : kConfigs) {
    for (bool traditional : {false, true}) {
      Rope rope = rope_of(config, traditional);
      mx::array fast = rope(x, Positions({13, 13}, 6));
      EXPECT_LT(difference(fast, rope(x, Positions({13, 13}, 6, {}, given))), 2e-5F) << config;
    }
  }
}

TEST(Rope, RowsTurnByTheirOwnOffsetAndLength) {
  mx::array x = heads(2, 6);
  for (const char* config : kConfigs) {
    Rope rope = rope_of(config);
    mx::array both = rope(x, Positions({3, 18}, 6, {6, 4}));
    for (int row = 0; row < 2; ++row) {
      int length = row == 0 ? 6 : 4;
      mx::array own = mx::slice(x, {row, 0, 0, 0}, {row + 1, 2, length, kHeadDim});
      mx::array out = mx::slice(both, {row, 0, 0, 0}, {row + 1, 2, length, kHeadDim});
      EXPECT_LT(difference(rope(own, Positions({row == 0 ? 3 : 18}, length)), out), 2e-5F) << config << " row " << row;
    }
  }
}

TEST(Rope, ThreeEqualAxesAreOnePosition) {
  mx::array x = heads(1, 5);
  mx::array one = mx::reshape(mx::arange(7, 12), {1, 5});
  mx::array three = mx::stack({one, one, one});
  for (const char* config : {R"({"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}})",
                             R"({"rope_scaling": {"mrope_section": [2, 3, 3], "mrope_interleaved": true}})"}) {
    Rope rope = rope_of(config);
    EXPECT_LT(difference(rope(x, Positions({7}, 5)), rope(x, Positions({7}, 5, {}, three))), 2e-5F) << config;
    mx::array moved = mx::stack({one, mx::add(one, mx::array(3)), one});
    EXPECT_GT(difference(rope(x, Positions({7}, 5)), rope(x, Positions({7}, 5, {}, moved))), 1e-2F) << config;
  }
  EXPECT_THROW(rope_of("{}")(x, Positions({7}, 5, {}, three)), Error);
}

std::string refusal(const char* json, int head_dim = kHeadDim) {
  try {
    RopeSettings::read(Config(parse_json(json, "test"), "llama"), head_dim, 10000);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RopeSettings, NameWhatIsWrong) {
  EXPECT_EQ(refusal("{}", 63), "[rope] dims must be even and positive, got 63");
  EXPECT_EQ(refusal(R"({"rope_scaling": {"type": "magic"}})"),
            "[llama rope_scaling] rope type 'magic' is not built in");
  EXPECT_EQ(refusal(R"({"rope_scaling": {"type": "linear"}})"), "[llama rope_scaling] factor is missing");
  EXPECT_EQ(refusal(R"({"rope_scaling": "linear"})"), "[llama] rope_scaling must be an object, got \"linear\"");
  EXPECT_EQ(
      refusal(R"({"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 8, "short_factor": [1]}})"),
      "[llama rope_scaling] short_factor must have 8 numbers, got 1");
  EXPECT_EQ(refusal(R"({"rope_scaling": {"mrope_section": [1, 1, 1]}})"),
            "[llama rope_scaling] mrope_section must add up to 8, got 3");
}

TEST(RopeSettings, TakeTheBaseFromRopeParametersBesideAScaling) {
  Config config(
      parse_json(R"({"rope_parameters": {"rope_theta": 700}, "rope_scaling": {"type": "linear", "factor": 2}})",
                 "test"),
      "llama");
  RopeSettings rope = RopeSettings::read(config, kHeadDim, 1);
  EXPECT_EQ(rope.theta, 700);
  EXPECT_EQ(rope.factor, 2);
}

TEST(RopeSettings, ReadsParametersOfTheLayerTypeAskedFor) {
  Config config(
      parse_json(R"({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 1e6},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 500}}})",
                 "test"),
      "gemma3");
  RopeSettings full = RopeSettings::read(config, kHeadDim, 1, "full_attention");
  RopeSettings local = RopeSettings::read_local(config, kHeadDim, 1, "sliding_attention");
  EXPECT_EQ(full.type, "linear");
  EXPECT_EQ(full.theta, 1e6);
  EXPECT_EQ(local.type, "default");
  EXPECT_EQ(local.theta, 500);
}

}  // namespace
}  // namespace mlxk
