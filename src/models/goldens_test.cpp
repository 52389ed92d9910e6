// Tiny models against logits that tools/make_model_goldens.py recorded; the weights come from the same formula.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "json/json.h"
#include "kernels/device.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "models/checkpoint_tensors.h"
#include "models/load.h"
#include "models/testing/golden_model.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr int kPrefill = 20, kTotal = 32, kVocab = 128;
constexpr int kRows[] = {0, 7, 13, 19, 20, 25, 31};
constexpr float kTolerance = 1e-3F;

using golden::golden_case;
using golden::kCases;

fs::path write_model(const std::string& name) { return golden::write_model(name, golden::temp_folder("tiny_" + name)); }

std::vector<int> prompt() {
  std::vector<int> ids;
  for (int i = 0; i < kTotal; ++i) ids.push_back((i * 37 + 11) % kVocab);
  return ids;
}

// Logits [tokens, vocab] as floats.
std::vector<float> run(Model& model, ModelCache& cache, const std::vector<int>& ids) {
  Inputs inputs;
  inputs.ids = mx::array(ids.begin(), {1, static_cast<int>(ids.size())}, mx::int32);
  mx::array logits = mx::contiguous(model.forward(inputs, cache));
  logits.eval();
  return {logits.data<float>(), logits.data<float>() + logits.size()};
}

// Logits of all `ids`, fed in the given pieces and then one by one.
std::vector<float> run_in_pieces(Model& model, const std::vector<int>& ids, const std::vector<int>& pieces) {
  ModelCache cache = model.make_cache(1);
  std::vector<float> all;
  size_t at = 0, piece = 0;
  while (at < ids.size()) {
    size_t count = piece < pieces.size() ? pieces[piece++] : 1;
    auto part = run(model, cache, {ids.begin() + at, ids.begin() + at + count});
    all.insert(all.end(), part.begin(), part.end());
    at += count;
  }
  return all;
}

float largest_difference(const float* a, const float* b, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) {
    float difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;  // a NaN counts
  }
  return largest;
}

// These differ in the weights only.
bool is_packed(const std::string& name) { return name.rfind("quantized", 0) == 0; }

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = write_model(GetParam());
    model_ = load_model(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  // The rope of these depends on the row's length at each call.
  bool depends_on_pieces() const { return GetParam() == "rope_dynamic" || GetParam().rfind("rope_longrope", 0) == 0; }

  void expect_recorded(const std::vector<float>& logits, const char* how) {
    auto recorded = mx::load_safetensors((kCases / (GetParam() + ".safetensors")).string()).first;
    mx::array expected = recorded.at("logits");
    expected.eval();
    // The kernels for packed weights round activations to 16 bits with a scale for up to 32 columns.
    const float tolerance = is_packed(GetParam()) ? 3e-4F * mx::max(mx::abs(expected)).item<float>() : kTolerance;
    for (size_t i = 0; i < std::size(kRows); ++i) {
      float difference =
          largest_difference(expected.data<float>() + i * kVocab, logits.data() + kRows[i] * kVocab, kVocab);
      EXPECT_LT(difference, tolerance) << how << ", position " << kRows[i];
    }
  }

  fs::path folder_;
  std::unique_ptr<Model> model_;
};

TEST_P(Golden, PrefillAndStepsGiveTheRecordedLogits) {
  expect_recorded(run_in_pieces(*model_, prompt(), {kPrefill}), "prefill, then steps");
  if (depends_on_pieces() || is_packed(GetParam())) return;
  expect_recorded(run_in_pieces(*model_, prompt(), {7, 6, 7}), "prefill in chunks");
  expect_recorded(run_in_pieces(*model_, prompt(), {}), "steps only");
  expect_recorded(run_in_pieces(*model_, prompt(), {11, 1, 1, 12}), "a chunk behind steps");
}

// The chain of operations for a device without a kernel.
TEST_P(Golden, ChainsOfOperationsGiveTheRecordedLogits) {
  const LayerOps none;
  const LayerOpsScope scope(none);
  expect_recorded(run_in_pieces(*model_, prompt(), {kPrefill}), "prefill, then steps");
  if (!depends_on_pieces()) expect_recorded(run_in_pieces(*model_, prompt(), {7, 6, 7}), "prefill in chunks");
}

// The output of `mlxk convert` is read again as the same model.
TEST_P(Golden, TensorsOfItsCheckpointGiveTheRecordedLogits) {
  const Json config = golden_case(GetParam())["config"];
  const std::string file = (folder_ / "model.safetensors").string();
  std::unordered_map<std::string, mx::array> written;
  const auto given = mx::load_safetensors(file).first;
  for (const auto& taken : checkpoint_tensors(config, {given.begin(), given.end()})) {
    EXPECT_TRUE(written.emplace(taken.name, mx::contiguous(taken.tensor)).second) << taken.name << " twice";
  }
  for (auto& [name, array] : written) array.eval();  // the file is read lazily
  mx::save_safetensors(file, written);
  model_ = load_model(folder_);
  expect_recorded(run_in_pieces(*model_, prompt(), {kPrefill}), "read again");
}

class GoldenRows : public Golden {};

TEST_P(GoldenRows, OfDifferentLengthGiveWhatEachGivesAlone) {
  const std::vector<int> ids = prompt(), lengths{20, 5, 11};
  const int rows = 3, steps = 10;
  ModelCache together = model_->make_cache(rows);
  std::vector<ModelCache> alone;
  std::vector<int> padded;
  for (int row = 0; row < rows; ++row) {
    alone.push_back(model_->make_cache(1));
    for (int i = 0; i < lengths[0]; ++i) padded.push_back(i < lengths[row] ? ids[row + i] : 0);
  }
  Inputs inputs;
  inputs.ids = mx::array(padded.begin(), {rows, lengths[0]}, mx::int32);
  inputs.lengths = lengths;
  inputs.last_only = true;
  std::vector<int> next(rows);
  for (int step = 0; step <= steps; ++step) {
    mx::array logits = mx::contiguous(model_->forward(inputs, together));
    logits.eval();
    for (int row = 0; row < rows; ++row) {
      std::vector<int> own(ids.begin() + row, ids.begin() + row + lengths[row]);
      if (step > 0) own = {next[row]};
      auto expected = run(*model_, alone[row], own);
      float difference =
          largest_difference(expected.data() + (own.size() - 1) * kVocab, logits.data<float>() + row * kVocab, kVocab);
      EXPECT_LT(difference, kTolerance) << "row " << row << ", step " << step;
      next[row] = (step * 29 + row * 5 + 3) % kVocab;
    }
    inputs = {};
    inputs.ids = mx::array(next.begin(), {rows, 1}, mx::int32);
  }
}

class GoldenBatch : public Golden {};

TEST_P(GoldenBatch, JoinedSequencesGiveTheBitsOfEachAlone) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  const std::vector<int> ids = prompt(), lengths{20, 5, 11};
  const int steps = 8;
  std::vector<ModelCache> parts, alone;
  for (size_t row = 0; row < lengths.size(); ++row) {
    for (auto* caches : {&parts, &alone}) {
      caches->push_back(model_->make_cache(1));
      run(*model_, caches->back(), {ids.begin() + row, ids.begin() + row + lengths[row]});
    }
  }
  for (int step = 0; step < steps; ++step) {
    const std::vector<size_t> members = step < 3 ? std::vector<size_t>{0, 1, 2} : std::vector<size_t>{2, 0};
    std::vector<ModelCache*> rows;
    std::vector<int> next;
    for (const size_t row : members) {
      rows.push_back(&parts[row]);
      next.push_back((step * 29 + static_cast<int>(row) * 5 + 3) % kVocab);
    }
    ModelCache batched = ModelCache::batch(rows);
    Inputs inputs;
    inputs.ids = mx::array(next.begin(), {static_cast<int>(next.size()), 1}, mx::int32);
    mx::array logits = mx::contiguous(model_->forward(inputs, batched));
    logits.eval();
    batched.unbatch();
    for (size_t i = 0; i < members.size(); ++i) {
      const auto expected = run(*model_, alone[members[i]], {next[i]});
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits.data<float>() + i * kVocab))
          << "row " << members[i] << ", step " << step;
    }
  }
}

class GoldenDrafts : public Golden {};

// The basis of speculation: drafted tokens verified in one step give the results of one step each.
TEST_P(GoldenDrafts, SeveralTokensOfADecodeStepGiveTheBitsOfOneEach) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  if (model_->position_stable_tokens() < kTotal)
    GTEST_SKIP() << "this rope turns all tokens of a call by the row's length after it";
  const std::vector<int> ids = prompt(), lengths{5, 1, 3}, starts{12, 3, 7};
  std::vector<ModelCache> parts;
  std::vector<ModelCache*> rows;
  std::vector<int> padded;
  for (size_t row = 0; row < lengths.size(); ++row) {
    parts.push_back(model_->make_cache(1));
    run(*model_, parts.back(), {ids.begin(), ids.begin() + starts[row]});
    for (int i = 0; i < lengths[0]; ++i) padded.push_back(i < lengths[row] ? ids[starts[row] + i] : 0);
  }
  for (auto& part : parts) rows.push_back(&part);
  ModelCache batched = ModelCache::batch(rows);
  Inputs inputs{.ids = mx::array(padded.begin(), {3, lengths[0]}, mx::int32), .lengths = lengths};
  mx::array logits = mx::contiguous(model_->forward(inputs, batched));
  logits.eval();
  batched.unbatch();
  for (size_t row = 0; row < lengths.size(); ++row) {
    ModelCache alone = model_->make_cache(1);
    run(*model_, alone, {ids.begin(), ids.begin() + starts[row]});
    for (int i = 0; i < lengths[row]; ++i) {
      const auto expected = run(*model_, alone, {ids[starts[row] + i]});
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits.data<float>() + (row * lengths[0] + i) * kVocab))
          << "row " << row << ", token " << i;
    }
  }
}

TEST(GoldenExperts, MayLieInTheFileOneByOne) {
  const fs::path folder = write_model("qwen3_moe");
  const auto logits = [&] {
    const auto model = load_model(folder);
    ModelCache cache = model->make_cache(1);
    return run(*model, cache, prompt());
  };
  const std::vector<float> expected = logits();
  const std::string file = (folder / "model.safetensors").string(), stacked = "switch_mlp.";
  std::unordered_map<std::string, mx::array> tensors;
  for (const auto& [name, stack] : mx::load_safetensors(file).first) {
    const size_t at = name.find(stacked);
    for (int expert = 0; at != std::string::npos && expert < stack.shape(0); ++expert) {
      const std::string own =
          fmt::format("{}experts.{}.{}", name.substr(0, at), expert, name.substr(at + stacked.size()));
      tensors.emplace(own, mx::contiguous(mx::take(stack, expert, 0)));
    }
    if (at == std::string::npos) tensors.emplace(name, stack);
  }
  for (auto& [name, array] : tensors) array.eval();
  mx::save_safetensors(file, tensors);
  EXPECT_EQ(logits(), expected);
  fs::remove_all(folder);
}

// mlx-lm splits kv_b_proj when it converts; other checkpoints have it unsplit, some of them packed.
void expect_same_with_whole_kv_b(bool packs) {
  const fs::path folder = write_model("deepseek_v3");
  const auto logits = [&] {
    const auto model = load_model(folder);
    ModelCache cache = model->make_cache(1);
    return run(*model, cache, prompt());
  };
  const std::string file = (folder / "model.safetensors").string(), embed = ".embed_q.weight";
  const auto save = [&](std::unordered_map<std::string, mx::array>& tensors) {
    for (auto& [name, array] : tensors) array.eval();
    mx::save_safetensors(file, tensors);
  };
  auto split = mx::load_safetensors(file).first;
  auto whole = split;
  const auto given = split;
  for (const auto& [name, embed_q] : given) {
    if (name.find(embed) == std::string::npos) continue;
    const std::string path = name.substr(0, name.size() - embed.size()), unembed = path + ".unembed_out.weight";
    const int keys = embed_q.shape(2);
    whole.erase(name);
    whole.erase(unembed);
    mx::array kv = mx::flatten(mx::concatenate({mx::swapaxes(embed_q, 1, 2), split.at(unembed)}, 1), 0, 1);
    if (packs) {
      const auto parts = mx::quantize(kv, 32, 8);
      kv = mx::dequantize(parts[0], parts[1], parts[2], 32, 8);
      const mx::array by_head = mx::unflatten(kv, 0, {embed_q.shape(0), -1});
      split.at(name) = mx::contiguous(mx::swapaxes(mx::split(by_head, mx::Shape{keys}, 1)[0], 1, 2));
      split.at(unembed) = mx::contiguous(mx::split(by_head, mx::Shape{keys}, 1)[1]);
      const char* leaves[] = {".kv_b_proj.weight", ".kv_b_proj.scales", ".kv_b_proj.biases"};
      for (size_t i = 0; i < parts.size(); ++i) whole.emplace(path + leaves[i], parts[i]);
    } else {
      whole.emplace(path + ".kv_b_proj.weight", kv);
    }
  }
  save(split);
  const std::vector<float> expected = logits();
  save(whole);
  const std::vector<float> found = logits();
  // The kernels for packed weights round activations to 16 bits.
  const float largest = std::abs(
      *std::max_element(expected.begin(), expected.end(), [](float a, float b) { return std::abs(a) < std::abs(b); }));
  EXPECT_LE(largest_difference(found.data(), expected.data(), expected.size()), packs ? 3e-4F * largest : 0);
  fs::remove_all(folder);
}

TEST(GoldenLatent, MayHaveKvBWhole) { expect_same_with_whole_kv_b(false); }
TEST(GoldenLatent, MayHaveKvBWholeAndPacked) { expect_same_with_whole_kv_b(true); }

TEST(GoldenConfig, BadValuesAreNamed) {
  struct Bad {
    const char *name, *key;
    Json value;
    const char* message;
  };
  const Bad all[] = {
      {"deepseek_v3", "kv_lora_rank", nullptr, "kv_lora_rank is missing"},
      {"deepseek_v3", "num_experts_per_tok", 9, "num_experts_per_tok must be in [1, 8], got 9"},
      {"deepseek_v3", "topk_method", "greedy", "topk_method must be noaux_tc, got greedy"},
      {"deepseek_v2", "topk_method", "best", "topk_method must be greedy or group_limited_greedy, got best"},
      {"deepseek_v2", "n_group", 3, "n_group must divide 8 experts and leave 2 to choose, got 3"},
      {"qwen3",
       "layer_types",
       {"full_attention", "conv"},
       "layer_types has a type for layer 1 that a qwen3 layer does not have, got [\"full_attention\",\"conv\"]"},
      {"qwen3", "layer_types", {"full_attention", "other"}, "such as full_attention, got \"other\""},
      {"bailing_moe", "score_function", "tanh", "score_function must be softmax or sigmoid, got \"tanh\""},
      {"qwen2_window", "max_window_layers", "all", "max_window_layers must be a whole number, got \"all\""},
      {"gemma4_text", "num_kv_shared_layers", 5, "num_kv_shared_layers leaves no layer"},
      {"gemma4_text_moe", "top_k_experts", 5, "top_k_experts must be in [1, 4], got 5"},
      {"hunyuan_cla", "cla_share_factor", 0, "cla_share_factor must be in [1, 1024], got 0"},
      {"ernie4_5_moe", "moe_k", 9, "moe_k must be in [1, 4], got 9"},
      {"ernie4_5_moe", "moe_gate_act", "tanh", "scoring_func 'tanh' is not built in"},
      {"afmoe", "score_func", "tanh", "score_func 'tanh' is not built in"},
      {"dbrx",
       "ffn_config",
       {{"ffn_hidden_size", 32}, {"moe_num_experts", 4}, {"moe_top_k", 5}},
       "moe_top_k must be in"},
      {"gpt2", "scale_attn_weights", false, "scale_attn_weights false is not built in"},
      {"gptj", "rotary_dim", 7, "rotary_dim must be even"},
      {"laguna", "num_attention_heads_per_layer", {4, 3, 4}, "must hold multiples of num_key_value_heads, got 3"},
      {"mimo_v2_flash", "hybrid_layer_pattern", {1}, "hybrid_layer_pattern must have 3 entries"},
      {"nanbeige", "loop_share_kv", true, "loop_share_kv true is not built in"},
      {"openelm", "num_kv_heads", {1}, "num_kv_heads must have 2 entries"},
      {"qwen", "kv_channels", 32, "kv_channels must be hidden_size / num_attention_heads"},
      {"step3p5", "moe_layers_enum", "1,9", "moe_layers_enum must hold numbers of layers below 3"},
  };
  for (const Bad& bad : all) {
    const fs::path folder = write_model(bad.name);
    Json config = golden_case(bad.name)["config"];
    config[bad.key] = bad.value;
    std::ofstream(folder / "config.json") << config.dump();
    std::string message = "loaded";
    try {
      load_model(folder);
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_NE(message.find(bad.message), message.npos) << bad.name << ": " << message;
    fs::remove_all(folder);
  }
}

std::vector<std::string> case_names(bool with_packed) {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(kCases)) {
    if (file.path().extension() != ".json") continue;
    const std::string name = file.path().stem().string();
    if (with_packed || !is_packed(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string name_of(const testing::TestParamInfo<std::string>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(Tiny, Golden, testing::ValuesIn(case_names(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Tiny, GoldenBatch, testing::ValuesIn(case_names(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Tiny, GoldenDrafts, testing::ValuesIn(case_names(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Tiny, GoldenRows, testing::ValuesIn(case_names(false)), name_of);

}  // namespace
}  // namespace mlxk
