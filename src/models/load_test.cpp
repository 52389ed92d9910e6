#include "models/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "json/json.h"
#include "mlx/device.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Tensors = std::unordered_map<std::string, mx::array>;

constexpr int kHidden = 32, kVocab = 48;

class LoadModel : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    config_ = parse_json(R"({"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64,
      "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 48})",
                         "test");
    auto add = [&](const char* name, const mx::Shape& shape) {
      tensors_.emplace(name,
                       mx::multiply(mx::random::normal(shape, mx::random::key(tensors_.size())), mx::array(0.1F)));
    };
    add("model.embed_tokens.weight", {kVocab, kHidden});
    add("model.norm.weight", {kHidden});
    add("model.layers.0.input_layernorm.weight", {kHidden});
    add("model.layers.0.post_attention_layernorm.weight", {kHidden});
    add("model.layers.0.self_attn.q_proj.weight", {kHidden, kHidden});
    add("model.layers.0.self_attn.k_proj.weight", {16, kHidden});
    add("model.layers.0.self_attn.v_proj.weight", {16, kHidden});
    add("model.layers.0.self_attn.o_proj.weight", {kHidden, kHidden});
    add("model.layers.0.mlp.gate_proj.weight", {64, kHidden});
    add("model.layers.0.mlp.up_proj.weight", {64, kHidden});
    add("model.layers.0.mlp.down_proj.weight", {kHidden, 64});
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<Model> load() {
    if (fs::is_empty(folder_)) mx::save_safetensors((folder_ / "model.safetensors").string(), tensors_);
    std::ofstream(folder_ / "config.json") << config_.dump();
    return load_model(folder_);
  }

  // The message of the error that loading throws.
  std::string refusal() {
    try {
      load();
    } catch (const Error& error) {
      return error.what();
    }
    return "loaded";
  }

  std::vector<float> logits() {
    auto model = load();
    ModelCache cache = model->make_cache(1);
    Inputs inputs;
    inputs.ids = mx::array({1, 2, 3, 4, 5}, {1, 5}, mx::int32);
    inputs.last_only = true;
    mx::array out = mx::contiguous(model->forward(inputs, cache));
    EXPECT_EQ(out.shape(), (mx::Shape{1, 1, kVocab}));
    out.eval();
    return {out.data<float>(), out.data<float>() + kVocab};
  }

  void cast(mx::Dtype type) {
    for (auto& [name, tensor] : tensors_) tensor = mx::astype(tensor, type);
  }

  fs::path folder_;
  Json config_;
  Tensors tensors_;
};

TEST_F(LoadModel, TakesEveryFloatTypeAndComputesInFloat32) {
  std::vector<float> expected = logits();
  for (mx::Dtype type : {mx::float16, mx::bfloat16}) {
    fs::remove(folder_ / "model.safetensors");
    fs::remove(folder_ / "config.json");
    cast(type);
    std::vector<float> got = logits();
    for (int i = 0; i < kVocab; ++i) EXPECT_NEAR(got[i], expected[i], 0.05) << i;
  }
}

TEST_F(LoadModel, ReadsShardsByTheIndex) {
  std::vector<float> expected = logits();
  fs::remove(folder_ / "model.safetensors");
  Tensors shards[2];
  Json index = {{"metadata", Json::object()}, {"weight_map", Json::object()}};
  int count = 0;
  for (const auto& [name, tensor] : tensors_) {
    shards[count % 2].emplace(name, tensor);
    index["weight_map"][name] = count++ % 2 == 0 ? "model-1.safetensors" : "model-2.safetensors";
  }
  mx::save_safetensors((folder_ / "model-1.safetensors").string(), shards[0]);
  mx::save_safetensors((folder_ / "model-2.safetensors").string(), shards[1]);
  EXPECT_EQ(logits(), expected) << "without an index";
  std::ofstream(folder_ / "model.safetensors.index.json") << index.dump();
  EXPECT_EQ(logits(), expected) << "with one";
  index["weight_map"]["model.norm.weight"] = "../model-1.safetensors";
  std::ofstream(folder_ / "model.safetensors.index.json") << index.dump();
  EXPECT_THAT(refusal(), HasSubstr("../model-1.safetensors"));
}

TEST_F(LoadModel, ListsMissingUnknownAndUnfitTensorsAtOnce) {
  tensors_.erase("model.norm.weight");
  tensors_.emplace("model.layers.7.extra", mx::zeros({2}));
  tensors_.at("model.layers.0.mlp.up_proj.weight") = mx::zeros({63, kHidden});
  std::string message = refusal();
  EXPECT_THAT(message, HasSubstr("1 missing: model.norm.weight"));
  EXPECT_THAT(message, HasSubstr("1 unknown: model.layers.7.extra"));
  EXPECT_THAT(
      message,
      HasSubstr("model.layers.0.mlp.up_proj.weight must be a float tensor of shape [64, 32], got shape [63, 32]"));
}

TEST_F(LoadModel, RefusesAnUnknownTypeWithTheKnownOnes) {
  config_["model_type"] = "mamba9";
  try {
    load();
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("'mamba9' is not built in"));
    EXPECT_THAT(error.what(), HasSubstr("list --architectures"));
  }
}

TEST_F(LoadModel, NamesTheKeyThatContradictsAnother) {
  config_["num_attention_heads"] = 9;
  config_["num_key_value_heads"] = 4;
  EXPECT_EQ(refusal(), "[llama] num_attention_heads must be a multiple of num_key_value_heads, got 9 and 4");
  config_["num_attention_heads"] = 4;
  config_["num_key_value_heads"] = 2;
  config_.erase("vocab_size");
  EXPECT_EQ(refusal(), "[llama] vocab_size is missing");
  config_["vocab_size"] = kVocab;
  config_["hidden_act"] = "sinus";
  EXPECT_EQ(refusal(), "[config] activation 'sinus' is not built in");
}

TEST_F(LoadModel, HoldsPackedTensorsToTheConfiguration) {
  auto packed = mx::quantize(tensors_.at("model.embed_tokens.weight"), 32, 4);
  tensors_.at("model.embed_tokens.weight") = packed[0];
  tensors_.emplace("model.embed_tokens.scales", packed[1]);
  tensors_.emplace("model.embed_tokens.biases", packed[2]);
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
  EXPECT_EQ(refusal(), "loaded");
  for (const auto& [bits, group] : {std::pair{8, 32}, {4, 64}, {2, 128}}) {
    config_["quantization"] = {{"group_size", group}, {"bits", bits}};
    EXPECT_EQ(refusal(),
              fmt::format("[quantization] config.json says bits {} group_size {}, but no tensor is packed so: "
                          "model.embed_tokens is affine with bits 4 and group_size 32",
                          bits, group));
  }
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}, {"mode", "mxfp4"}};
  EXPECT_THAT(refusal(), HasSubstr("config.json says mode mxfp4 bits 4"));
  config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
  config_["quantization"]["model.embed_tokens"] = {{"group_size", 32}, {"bits", 8}};
  EXPECT_THAT(refusal(), HasSubstr("[model.embed_tokens] is affine with bits 4 and group_size 32"));
  config_["quantization"]["model.embed_tokens"] = false;
  EXPECT_THAT(refusal(), HasSubstr("the configuration says it is not"));
}

TEST_F(LoadModel, RefusesAForeignQuantisation) {
  for (const char* method : {"gptq", "awq", "bitsandbytes"}) {
    config_["quantization_config"] = {{"quant_method", method}, {"bits", 4}, {"group_size", 128}};
    EXPECT_THAT(refusal(), HasSubstr(fmt::format("quantization_config.quant_method is \"{}\"", method)));
  }
}

TEST_F(LoadModel, MultipliesOut8BitFloats) {
  const Tensors given = tensors_;
  for (const auto& [name, weight] : given) {
    if (!name.ends_with("_proj.weight")) continue;
    const mx::array floats = mx::from_fp8(mx::to_fp8(weight), mx::bfloat16);
    tensors_.insert_or_assign(name, mx::astype(mx::multiply(floats, mx::array(0.5F)), mx::bfloat16));
  }
  const std::vector<float> expected = logits();
  fs::remove(folder_ / "model.safetensors");
  fs::remove(folder_ / "config.json");
  for (const auto& [name, weight] : given) {
    if (!name.ends_with("_proj.weight")) continue;
    tensors_.insert_or_assign(name, mx::to_fp8(weight));
    tensors_.insert_or_assign(name + "_scale_inv", mx::array({0.5F}, {1, 1}));
  }
  config_["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
  EXPECT_EQ(logits(), expected);
}

TEST_F(LoadModel, NamesATruncatedFile) {
  mx::save_safetensors((folder_ / "model.safetensors").string(), tensors_);
  fs::resize_file(folder_ / "model.safetensors", fs::file_size(folder_ / "model.safetensors") - 10);
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors"));
}

// Python's MLX writes headers of any length, so elements can be at any address.
TEST_F(LoadModel, TakesTensorsAtAnyAddress) {
  for (const bool packed : {false, true}) {
    if (packed) {
      const auto parts = mx::quantize(tensors_.at("model.embed_tokens.weight"), 32, 4);
      tensors_.insert_or_assign("model.embed_tokens.weight", parts[0]);
      tensors_.emplace("model.embed_tokens.scales", parts[1]);
      tensors_.emplace("model.embed_tokens.biases", parts[2]);
      config_["quantization"] = {{"group_size", 32}, {"bits", 4}};
    }
    std::vector<std::vector<float>> results;
    for (int more = 0; more < 4; ++more) {
      fs::remove(folder_ / "model.safetensors");
      fs::remove(folder_ / "config.json");
      mx::save_safetensors((folder_ / "model.safetensors").string(), tensors_, {{"more", std::string(more, ' ')}});
      results.push_back(logits());
      EXPECT_EQ(results.back(), results.front()) << more << " bytes further";
    }
  }
}

TEST_F(LoadModel, NoticesThatAFileWasShortenedInUse) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "the weights are on the card, no longer in the file";
  auto model = load();
  EXPECT_NO_THROW(model->check_weights());
  fs::resize_file(folder_ / "model.safetensors", 0);
  Inputs inputs;
  inputs.ids = mx::array({1, 2, 3}, {1, 3}, mx::int32);
  ModelCache cache = model->make_cache(1);
  mx::eval(model->forward(inputs, cache));
  EXPECT_THROW(model->check_weights(), Error);
}

TEST_F(LoadModel, TellsHowFarItIs) {
  load();
  std::vector<std::pair<int64_t, int64_t>> told;
  load_model(folder_, [&](int64_t done, int64_t total) { told.emplace_back(done, total); });
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back().first, told.back().second);
  if (mx::default_device() != mx::Device::cpu) return;  // on a GPU, the bytes of the weights are counted
  EXPECT_EQ(told.back().second, static_cast<int64_t>(fs::file_size(folder_ / "model.safetensors")));
}

TEST_F(LoadModel, RefusesInputsThatDoNotFit) {
  auto model = load();
  ModelCache cache = model->make_cache(1);
  Inputs inputs;
  EXPECT_THROW(model->forward(inputs, cache), Error);
  inputs.ids = mx::array({1, kVocab}, {1, 2}, mx::int32);
  EXPECT_THROW(model->forward(inputs, cache), Error) << "an id past the table";
  inputs.ids = mx::zeros({2, 3}, mx::int32);
  EXPECT_THROW(model->forward(inputs, cache), Error);
  inputs.ids = mx::zeros({1, 3}, mx::int32);
  inputs.lengths = {4};
  EXPECT_THROW(model->forward(inputs, cache), Error);
}

TEST_F(LoadModel, TakesEmbeddingsInPlaceOfIds) {
  std::vector<float> expected = logits();
  auto model = load();
  ModelCache cache = model->make_cache(1);
  Inputs inputs;
  inputs.embeddings = mx::take(tensors_.at("model.embed_tokens.weight"), mx::array({1, 2, 3, 4, 5}), 0);
  inputs.embeddings = mx::reshape(*inputs.embeddings, {1, 5, kHidden});
  inputs.last_only = true;
  mx::array out = model->forward(inputs, cache);
  out.eval();
  for (int i = 0; i < kVocab; ++i) EXPECT_NEAR(out.data<float>()[i], expected[i], 1e-5) << i;
}

}  // namespace
}  // namespace mlxk
