#include "convert/convert.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "convert/quantizer.h"
#include "convert/testing/tiny_gguf.h"
#include "gguf/blocks.h"

namespace mlxk {
namespace {

using testing::float_bytes;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::TinyGguf;

class Convert : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk-convert-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  ConvertReport convert(const std::string& gguf, const std::string& target = "out", int bits = 0) {
    write_file_atomic(root_ / "source.gguf", gguf);
    return convert_model({.source = root_ / "source.gguf", .target = root_ / target, .quantize_bits = bits}, {});
  }
  ConvertReport convert(const GgufBuilder& gguf) { return convert(gguf.build()); }

  /// The message of the Error, after checking that nothing was left behind.
  std::string failure(const GgufBuilder& gguf) {
    try {
      convert(gguf);
    } catch (const Error& error) {
      const auto left = std::distance(fs::directory_iterator(root_), fs::directory_iterator());
      EXPECT_EQ(left, 1) << "only the source";
      return error.what();
    }
    fs::remove_all(root_ / "out");
    return "accepted";
  }

  Json config(const std::string& file = "config.json") { return read_json(root_ / "out" / file); }
  std::unordered_map<std::string, mx::array> weights(const std::string& folder = "out") {
    return mx::load_safetensors((root_ / folder / "model.safetensors").string()).first;
  }

  fs::path root_;
};

std::vector<float> values(const mx::array& array) {
  auto floats = mx::contiguous(mx::astype(array, mx::float32));
  mx::eval(floats);
  return {floats.data<float>(), floats.data<float>() + floats.size()};
}

TEST_F(Convert, LlamaGetsConfigTokenizerAndTemplate) {
  const auto report = convert(TinyGguf().builder());
  EXPECT_EQ(report.model_type, "llama");
  EXPECT_EQ(report.quantization, "");
  EXPECT_EQ(config()["rms_norm_eps"], 1e-5);
  EXPECT_EQ(config()["torch_dtype"], "float32");
  EXPECT_EQ(config()["tie_word_embeddings"], true);
  EXPECT_EQ(config()["eos_token_id"], 1);
  EXPECT_EQ(config("tokenizer_config.json")["chat_template"], "{{ messages[0].content }}");
  EXPECT_EQ(config("tokenizer.json")["model"]["vocab"]["abc"], 5);
  EXPECT_EQ(config("tokenizer.json")["model"]["merges"][1], Json::array({"ab", "c"}));
  EXPECT_EQ(config(".mlxk_workspace.json")["operation"], "convert");
}

TEST_F(Convert, LlamaQueriesGetTheirRopeHalvesBack) {
  convert(TinyGguf().builder());
  const auto q = values(weights().at("model.layers.0.self_attn.q_proj.weight"));
  const auto v = values(weights().at("model.layers.0.self_attn.o_proj.weight"));  // same data, rows in place
  for (int head = 0; head < 2; ++head) {
    for (int row = 0; row < 32; ++row) {
      const int from = head * 32 + row % 16 * 2 + row / 16;
      ASSERT_EQ(q[(head * 32 + row) * 64 + 1], v[from * 64 + 1]) << head << " " << row;
    }
  }
}

TEST_F(Convert, BlocksOfAffineFormKeepTheirValuesExactly) {
  for (const auto type : {GgmlType::q4_0, GgmlType::q4_1, GgmlType::q5_0, GgmlType::q5_1, GgmlType::q8_0}) {
    const auto& info = ggml_type_info(type);
    std::string data(64 * 64 / info.block_elements * info.block_bytes, '\0');
    for (size_t i = 0; i < data.size(); ++i) {
      const size_t in_block = i % info.block_bytes;
      data[i] = static_cast<char>(in_block == 1 || in_block == 3 ? 0x2c : (i * 37 + 11) % 251);  // halves near 0.06
    }
    TinyGguf tiny;
    tiny.architecture = "qwen3";  // rows stay
    tiny.q_type = type;
    tiny.q_data = data;
    const auto report = convert(tiny.builder());
    EXPECT_EQ(report.quantization, fmt::format("{}-bit group 32", info.bits));
    EXPECT_TRUE(report.warnings.empty()) << report.warnings.front();
    const auto loaded = weights();
    const std::string layer = "model.layers.0.self_attn.q_proj";
    const auto got =
        values(mx::dequantize(loaded.at(layer + ".weight"), mx::astype(loaded.at(layer + ".scales"), mx::float32),
                              mx::astype(loaded.at(layer + ".biases"), mx::float32), 32, static_cast<int>(info.bits)));
    std::vector<float> expected(64 * 64);
    dequantize(type, std::as_bytes(std::span(data)), expected);
    EXPECT_EQ(got, expected) << info.name;
    fs::remove_all(root_ / "out");
  }
}

TEST_F(Convert, OtherBlocksAreQuantisedAgainWithAWarning) {
  TinyGguf tiny;
  tiny.architecture = "qwen3";
  tiny.q_type = GgmlType::iq4_nl;
  tiny.q_data = std::string(128 * 18, '\x2c');
  const auto report = convert(tiny.builder());
  EXPECT_EQ(report.quantization, "5-bit group 64");
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_THAT(report.warnings[0], HasSubstr("1 tensor of IQ4_NL was dequantised and quantised again"));
}

TEST_F(Convert, GemmaNormsLoseTheirOne) {
  TinyGguf tiny;
  tiny.architecture = "gemma3";
  tiny.tokenizer = "llama";
  convert(tiny.builder());
  EXPECT_EQ(values(weights().at("model.layers.0.pre_feedforward_layernorm.weight"))[3], -0.25F);
  EXPECT_EQ(values(weights().at("model.layers.0.mlp.up_proj.weight"))[3], 0.75F);
  EXPECT_EQ(config()["model_type"], "gemma3_text");
  EXPECT_EQ(config()["sliding_window"], 16);
}

TEST_F(Convert, ScoresBecomeMergesBestFirst) {
  TinyGguf tiny;
  tiny.tokenizer = "llama";
  tiny.tokens = {"<s>", "</s>", "abc", "ab", "a", "b", "c", "bc"};
  convert(tiny.builder());
  const Json expected = Json::array({{"a", "bc"}, {"ab", "c"}, {"a", "b"}, {"b", "c"}});
  EXPECT_EQ(config("tokenizer.json")["model"]["merges"], expected);
  EXPECT_EQ(config("tokenizer.json")["model"]["byte_fallback"], true);
}

TEST_F(Convert, QwenKeepsItsBiases) {
  TinyGguf tiny;
  tiny.architecture = "qwen2";
  tiny.pre = "qwen2";
  convert(tiny.builder());
  EXPECT_EQ(weights().count("model.layers.0.self_attn.q_proj.bias"), 1U);
  EXPECT_EQ(config("tokenizer.json")["normalizer"]["type"], "NFC");
}

TEST_F(Convert, TheSameInputGivesTheSameBytes) {
  const auto bytes = TinyGguf().builder().build();
  convert(bytes, "one", 4);
  convert(bytes, "two", 4);
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(read_file(root_ / "one" / name), read_file(root_ / "two" / name)) << name;
  }
}

TEST_F(Convert, ReadsLlama3RopeAndRefusesOtherDivisors) {
  std::string divisors;
  for (int i = 0; i < 16; ++i) {
    const double wavelength = 2 * M_PI * std::pow(10000.0, i / 16.0);
    const double smooth = (8192 / wavelength - 1) / 3;
    const double divisor = wavelength < 2048 ? 1 : wavelength > 8192 ? 32 : 1 / ((1 - smooth) / 32 + smooth);
    divisors += GgufBuilder::bytes(static_cast<float>(divisor));
  }
  convert(TinyGguf().builder().tensor("rope_freqs.weight", {16}, GgmlType::f32, divisors));
  EXPECT_EQ(config()["rope_scaling"]["rope_type"], "llama3");
  EXPECT_EQ(config()["rope_scaling"]["factor"], 32);
  fs::remove_all(root_ / "out");
  EXPECT_THAT(failure(TinyGguf().builder().tensor("rope_freqs.weight", {16}, GgmlType::f32, float_bytes(16, 1))),
              HasSubstr("Llama 3's rule"));
}

TEST_F(Convert, ReadsRopeScalingOrRefusesItByName) {
  convert(TinyGguf()
              .builder()
              .text("llama.rope.scaling.type", "yarn")
              .f32("llama.rope.scaling.factor", 4)
              .u32("llama.rope.scaling.original_context_length", 64));
  EXPECT_EQ(config()["rope_scaling"]["original_max_position_embeddings"], 64);
  fs::remove_all(root_ / "out");
  EXPECT_THAT(failure(TinyGguf().builder().text("llama.rope.scaling.type", "longrope")),
              HasSubstr("llama.rope.scaling.type is \"longrope\""));
  EXPECT_THAT(failure(TinyGguf().builder().u32("llama.rope.dimension_count", 16)), HasSubstr("rope.dimension_count"));
}

TEST_F(Convert, NamesWhatIsMissingUnknownOrMisshapen) {
  TinyGguf tiny;
  tiny.left_out = "blk.0.ffn_up.weight";
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("tensor blk.0.ffn_up.weight is missing"));
  EXPECT_THAT(failure(tiny.builder().tensor("blk.0.ffn_up.weight", {2, 2}, GgmlType::f32, float_bytes(4))),
              HasSubstr("must be [96, 64], is [2, 2]"));
  EXPECT_THAT(failure(TinyGguf().builder().tensor("blk.9.odd", {8}, GgmlType::f32, float_bytes(8))),
              HasSubstr("tensor blk.9.odd has no place"));
  tiny = {};
  tiny.architecture = "falcon";
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("architecture \"falcon\" is not built in"));
  EXPECT_THAT(failure(TinyGguf().builder().u32("llama.expert_count", 8)), HasSubstr("llama.expert_count"));
}

TEST_F(Convert, RefusesVocabulariesThatCannotBe) {
  TinyGguf tiny;
  tiny.tokens.insert(tiny.tokens.end(), {"e", "f"});
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("10 tokens in tokenizer.ggml.tokens, token_embd.weight has 8 rows"));
  tiny = {};
  tiny.merges = {"a b", "x y"};
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("merges[1]"));
  tiny.merges = {"ab"};
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("merges[0] is not two tokens"));
  tiny = {};
  tiny.tokens[3] = "\xff";
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("tokens[3] is not UTF-8"));
  tiny = {};
  tiny.pre = "unheard-of";
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("tokenizer.ggml.pre \"unheard-of\""));
  EXPECT_THAT(failure(TinyGguf().builder().u32("tokenizer.ggml.padding_token_id", 8)),
              HasSubstr("padding_token_id is 8"));
}

TEST_F(Convert, RefusesValuesThatDoNotFit) {
  TinyGguf tiny;
  tiny.q_data.replace(0, 4, GgufBuilder::bytes(INFINITY));
  EXPECT_THAT(failure(tiny.builder()), HasSubstr("blk.0.attn_q.weight"));
}

TEST_F(Convert, NeverTouchesATargetThatExists) {
  fs::create_directory(root_ / "out");
  EXPECT_THROW(convert(TinyGguf().builder()), Error);
  EXPECT_TRUE(fs::is_empty(root_ / "out"));
}

TEST_F(Convert, QuantisesAFolderAsMlxDoesAndBack) {
  convert(TinyGguf().builder());
  const auto original = weights().at("model.layers.0.mlp.up_proj.weight");
  struct Case {
    int bits, group;
    const char* mode;
  };
  for (const auto [bits, group, mode] : {Case{4, 64, "affine"},
                                         {3, 32, "affine"},
                                         {6, 64, "affine"},
                                         {4, 32, "mxfp4"},
                                         {8, 32, "mxfp8"},
                                         {4, 16, "nvfp4"}}) {
    const auto name = fmt::format("{}{}", mode, bits);
    convert_model({root_ / "out", root_ / name, bits, group, mode}, {});
    const auto got = weights(name);
    const auto expected = mx::quantize(original, group, bits, mode);
    EXPECT_TRUE(mx::array_equal(got.at("model.layers.0.mlp.up_proj.weight"), expected[0]).item<bool>()) << name;
    EXPECT_TRUE(mx::array_equal(got.at("model.layers.0.mlp.up_proj.scales"), expected[1]).item<bool>()) << name;
    EXPECT_EQ(read_json(root_ / name / "config.json")["quantization"]["bits"], bits);
    EXPECT_TRUE(fs::exists(root_ / name / "tokenizer.json"));
  }
  const auto report = convert_model({root_ / "affine4", root_ / "again", 8, 32, "affine"}, {});
  EXPECT_THAT(report.warnings.front(), HasSubstr("Source already 4-bit"));
  EXPECT_THROW(convert_model({root_ / "out", root_ / "x", 7, 64, "affine"}, {}), Error);
  EXPECT_THROW(convert_model({root_ / "out", root_ / "x", 4, 48, "affine"}, {}), Error);
  EXPECT_THROW(convert_model({root_ / "out", root_ / "x", 4, 64, "odd"}, {}), Error);
}

TEST_F(Convert, ShardsPastTheLimitGetAnIndex) {
  SafetensorsWriter writer(root_, {{"a", "F32", 4, {4}}, {"b", "F32", 4, {4}}, {"c", "F32", 4, {2}}}, 10, 24);
  const std::vector<float> data = {1, 2, 3, 4};
  writer.write(1, 8, std::as_bytes(std::span(data).subspan(2)));
  writer.write(1, 0, std::as_bytes(std::span(data).first(2)));
  writer.write(0, 0, std::as_bytes(std::span(data)));
  EXPECT_THROW(writer.finish(), Error);
  writer.write(2, 0, std::as_bytes(std::span(data).first(2)));
  writer.finish();
  const auto index = read_json(root_ / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 40);
  EXPECT_EQ(index["metadata"]["total_parameters"], 10);
  EXPECT_EQ(index["weight_map"]["a"], "model-00001-of-00002.safetensors");
  const auto second = mx::load_safetensors((root_ / "model-00002-of-00002.safetensors").string()).first;
  EXPECT_EQ(values(second.at("b")), data);
}

}  // namespace
}  // namespace mlxk
