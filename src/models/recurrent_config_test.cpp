// Invalid configurations of recurrent models: the error names key and value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/load.h"
#include "models/testing/golden_model.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

struct BadKey {
  const char *model, *key, *value, *says;
};

constexpr BadKey kBad[] = {
    {"lfm2", "layer_types", R"(["conv", "conv", "mamba"])", "has a type for layer 2 that a lfm2 layer does not have"},
    {"lfm2", "layer_types", R"(["conv", "full_attention"])", "must have 3 entries"},
    {"lfm2", "conv_L_cache", "1", "must be in [2, 64], got 1"},
    {"lfm2_conv_bias", "full_attn_idxs", "[3]", "must hold numbers of layers, got 3"},
    {"lfm2_moe", "num_experts_per_tok", "5", "must be in [1, 4], got 5"},
    {"mamba", "time_step_rank", "\"many\"", "must be a whole number, got \"many\""},
    {"mamba2", "n_groups", "3", "must divide the 8 heads of the scan, got 3"},
    {"mamba2", "time_step_limit", "[1.0, 0.5]", "must be two numbers, got [1.0,0.5]"},
    {"falcon_h1", "mamba_d_ssm", "90", ""},
    {"falcon_h1_published", "ssm_multipliers", "[1.0, 2.0]", "must be 5 numbers, got [1.0,2.0]"},
    {"nemotron_h", "hybrid_override_pattern", "\"M-X\"", "got \"M-X\""},
    {"nemotron_h_moe", "num_experts_per_tok", "9", "must be in [1, 8], got 9"},
    {"granitemoehybrid", "layer_types", R"(["mamba", "attention", "conv"])", "has a type for layer 2"},
    {"granitemoehybrid", "mamba_d_conv", "null", "is missing"},
    {"jamba", "mamba_expand", "0", "must be in [1, 64], got 0"},
    {"recurrent_gemma", "block_types", R"(["recurrent", "conv"])", "must hold recurrent and attention, got \"conv\""},
    {"rwkv7", "head_dim", "24", "must divide hidden_size, got 24"},
};

TEST(RecurrentConfig, ErrorsNameKeyAndValue) {
  const fs::path folder = golden::temp_folder("bad_recurrent");
  for (const BadKey& bad : kBad) {
    golden::write_model(bad.model, folder);
    Json config = golden::golden_case(bad.model)["config"];
    config[bad.key] = parse_json(bad.value, "test");
    std::ofstream(folder / "config.json") << config.dump();
    try {
      load_model(folder);
      ADD_FAILURE() << bad.model << " loads with " << bad.key << " " << bad.value;
    } catch (const Error& error) {
      const bool by_heads = std::string(bad.key) == "mamba_d_ssm";  // its heads are the impossible part
      EXPECT_THAT(error.what(),
                  testing::HasSubstr(by_heads ? "mamba_n_heads must make heads of 16 of 90, got 6" : bad.key));
      EXPECT_THAT(error.what(), testing::HasSubstr(bad.says));
    }
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace mlxk
