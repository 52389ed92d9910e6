// Tiny encoders against the results that tools/make_embedding_goldens.py recorded; the weights come from the same
// formula.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "json/json.h"
#include "kernels/device.h"
#include "mlx/io.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/checkpoint_tensors.h"
#include "models/embedding/pooling.h"
#include "models/load.h"
#include "models/testing/golden_model.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

/// A folder for the running test alone; other tests may run at the same time.
fs::path own_folder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "_" + test->name();
  std::replace(name.begin(), name.end(), '/', '_');
  return golden::temp_folder(name);
}

// The texts of the tool.
EncoderInputs texts(const std::vector<int>& lengths) {
  EncoderInputs inputs;
  inputs.lengths = lengths;
  for (const int n : lengths) {
    for (int i = 0; i < n; ++i) {
      inputs.ids.push_back((i * 37 + n * 11 + 5) % 90 + 5);
      inputs.token_types.push_back(i > n / 2 ? 1 : 0);
    }
  }
  return inputs;
}

/// x [rows, columns] as floats.
std::vector<float> floats(const mx::array& x) {
  mx::array all = mx::contiguous(mx::astype(x, mx::float32));
  all.eval();
  return {all.data<float>(), all.data<float>() + all.size()};
}

/// The smallest cosine between corresponding rows, and the largest difference between two numbers.
struct Likeness {
  double cosine = 1, difference = 0;
};

Likeness likeness(const std::vector<float>& a, const std::vector<float>& b, size_t columns) {
  Likeness worst;
  if (a.size() != b.size()) return {-1, INFINITY};
  for (size_t row = 0; row * columns < a.size(); ++row) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = row * columns; i < (row + 1) * columns; ++i) {
      ab += double{a[i]} * b[i];
      aa += double{a[i]} * a[i];
      bb += double{b[i]} * b[i];
      const double difference = std::abs(double{a[i]} - b[i]);
      if (!(difference <= worst.difference)) worst.difference = difference;  // a NaN counts
    }
    const double cosine = ab / std::sqrt(aa * bb);
    if (!(cosine >= worst.cosine)) worst.cosine = cosine;
  }
  return worst;
}

class GoldenEncoder : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string name = "embedding/" + GetParam();
    folder_ = golden::write_model(name, own_folder());
    for (const char* head : {"sparse_linear.pt", "colbert_linear.pt"}) {
      const fs::path file = golden::kCases / (name + "." + head);
      if (fs::exists(file)) fs::copy_file(file, folder_ / head, fs::copy_options::overwrite_existing);
    }
    encoder_ = load_encoder(folder_);
    expected_ = mx::load_safetensors((golden::kCases / (name + ".safetensors")).string()).first;
    const Json recorded = golden::golden_case(name);
    inputs_ = texts(recorded["lengths"].get<std::vector<int>>());
    if (recorded["config"].value("type_vocab_size", 0) < 2) inputs_.token_types.clear();
    inputs_.tasks = recorded.value("tasks", std::vector<int>());
    inputs_.attended = recorded.value("attended", std::vector<int>());
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// `cosine` 0: the numbers are not vectors, and may all be zero.
  void expect_recorded(const char* name, const mx::array& x, double cosine, double difference) {
    const mx::array& wanted = expected_.at(name);
    ASSERT_EQ(x.shape(), wanted.shape()) << name;
    const Likeness like = likeness(floats(x), floats(wanted), static_cast<size_t>(x.shape(1)));
    if (cosine > 0) {
      EXPECT_GT(like.cosine, cosine) << name;
    }
    EXPECT_LT(like.difference, difference) << name;
  }

  void expect_all_recorded(double cosine, double difference) {
    const mx::array hidden = encoder_->hidden(inputs_);
    expect_recorded("hidden", hidden, cosine, difference);
    if (expected_.count("logits") != 0) {
      expect_recorded("logits", encoder_->class_logits(hidden, inputs_.lengths), 0, difference);
    }
    if (expected_.count("token_logits") != 0) {
      expect_recorded("token_logits", encoder_->token_logits(hidden, last_rows(inputs_.lengths)), cosine, difference);
    }
    if (expected_.count("sparse") != 0) {
      expect_recorded("sparse", mx::expand_dims(encoder_->sparse_weights(hidden), 1), 0, difference);
    }
    if (expected_.count("splade") != 0) expect_recorded("splade", splade(hidden), cosine, difference);
    if (expected_.count("colbert") != 0) {
      expect_recorded("colbert", encoder_->colbert_vectors(hidden), cosine, difference);
    }
  }

  /// Each text's weights [texts, vocab].
  mx::array splade(const mx::array& hidden) const {
    std::vector<mx::array> rows;
    int first = 0;
    for (const int length : inputs_.lengths) {
      std::vector<int> own(static_cast<size_t>(length));
      std::iota(own.begin(), own.end(), first);
      rows.push_back(pool(SpladePooling(), encoder_->token_logits(hidden, own)));
      first += length;
    }
    return mx::concatenate(rows, 0);
  }

  fs::path folder_;
  std::unique_ptr<Encoder> encoder_;
  std::unordered_map<std::string, mx::array> expected_;
  EncoderInputs inputs_;
};

TEST_P(GoldenEncoder, PackedTextsGiveWhatWasRecorded) { expect_all_recorded(0.99999, 5e-3); }

// The chain of operations for a device without a kernel.
TEST_P(GoldenEncoder, ChainsOfOperationsGiveWhatWasRecorded) {
  const LayerOps none;
  const LayerOpsScope scope(none);
  expect_all_recorded(0.9999999, 1e-4);
}

TEST_P(GoldenEncoder, ATextGivesTheSameBitsAloneAndBesideOthers) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  const std::vector<float> together = floats(encoder_->hidden(inputs_));
  std::vector<float> alone;
  size_t at = 0, text = 0;
  for (const int length : inputs_.lengths) {
    const auto part = [&](const std::vector<int>& of) {
      return of.empty() ? of : std::vector<int>(of.begin() + at, of.begin() + at + length);
    };
    EncoderInputs one{part(inputs_.ids), {length}, part(inputs_.token_types)};
    if (!inputs_.tasks.empty()) one.tasks = {inputs_.tasks[text]};
    if (!inputs_.attended.empty()) one.attended = {inputs_.attended[text]};
    const auto own = floats(encoder_->hidden(one));
    alone.insert(alone.end(), own.begin(), own.end());
    at += static_cast<size_t>(length);
    ++text;
  }
  EXPECT_EQ(together, alone);
}

// The output of `mlxk convert` is read again as the same model.
TEST_P(GoldenEncoder, TensorsOfItsCheckpointGiveWhatWasRecorded) {
  const Json config = golden::golden_case("embedding/" + GetParam())["config"];
  const std::string file = (folder_ / "model.safetensors").string();
  std::unordered_map<std::string, mx::array> written;
  const auto given = mx::load_safetensors(file).first;
  for (const auto& taken : checkpoint_tensors(config, {given.begin(), given.end()}, ModelKind::embedding)) {
    EXPECT_TRUE(written.emplace(taken.name, mx::contiguous(taken.tensor)).second) << taken.name << " twice";
  }
  for (auto& [name, array] : written) array.eval();  // the file is read lazily
  mx::save_safetensors(file, written);
  encoder_ = load_encoder(folder_);
  expect_all_recorded(0.99999, 5e-3);
}

/// The case `name` with each of its tensors replaced by `change`.
template <class Change>
std::unique_ptr<Encoder> load_changed(const std::string& name, const Change& change) {
  const fs::path folder = golden::write_model("embedding/" + name, own_folder());
  const std::string file = (folder / "model.safetensors").string();
  std::unordered_map<std::string, mx::array> changed;
  for (const auto& [key, tensor] : mx::load_safetensors(file).first) change(key, tensor, changed);
  for (auto& [key, tensor] : changed) tensor.eval();
  mx::save_safetensors(file, changed);
  auto encoder = load_encoder(folder);
  fs::remove_all(folder);
  return encoder;
}

Likeness to_recorded(const Encoder& encoder, const std::string& name) {
  const auto expected = mx::load_safetensors((golden::kCases / ("embedding/" + name + ".safetensors")).string()).first;
  const EncoderInputs inputs = texts({5, 1, 17, 9, 40});
  return likeness(floats(encoder.hidden(inputs)), floats(expected.at("hidden")),
                  static_cast<size_t>(encoder.shape().hidden_size));
}

TEST(EncoderWeights, MayBeHalfFloats) {
  for (const mx::Dtype type : {mx::float16, mx::bfloat16}) {
    const auto encoder = load_changed("bert_wide", [&](const auto& key, const mx::array& tensor, auto& changed) {
      changed.emplace(key, mx::astype(tensor, type));
    });
    EXPECT_GT(to_recorded(*encoder, "bert_wide").cosine, type == mx::float16 ? 0.9999 : 0.999);
  }
}

TEST(EncoderWeights, MayBePackedByMlx) {
  for (const int bits : {8, 4}) {
    const auto encoder = load_changed("bert_wide", [&](const std::string& key, const mx::array& tensor, auto& changed) {
      const std::string path = key.substr(0, key.rfind('.'));
      if (tensor.ndim() != 2) {
        changed.emplace(key, tensor);
        return;
      }
      const auto packed = mx::quantize(tensor, 64, bits);
      changed.emplace(key, packed[0]);
      changed.emplace(path + ".scales", packed[1]);
      changed.emplace(path + ".biases", packed[2]);
    });
    EXPECT_GT(to_recorded(*encoder, "bert_wide").cosine, bits == 8 ? 0.9995 : 0.9);
  }
}

TEST(EncoderWeights, MayHaveOldNames) {
  const auto encoder = load_changed("bert_wide", [&](std::string key, const mx::array& tensor, auto& changed) {
    const size_t norm = key.find("LayerNorm.weight"), offset = key.find("LayerNorm.bias");
    if (norm != std::string::npos) key.replace(norm, std::string::npos, "LayerNorm.gamma");
    if (offset != std::string::npos) key.replace(offset, std::string::npos, "LayerNorm.beta");
    changed.emplace("bert." + key, tensor);
    changed.insert_or_assign("cls.seq_relationship.weight", mx::zeros({2, 64}));
    changed.insert_or_assign("bert.embeddings.position_ids", mx::zeros({1, 64}, mx::int32));
  });
  EXPECT_GT(to_recorded(*encoder, "bert_wide").cosine, 0.99999);
}

std::string refusal(const std::string& name, const char* key, const Json& value) {
  const fs::path folder = golden::write_model("embedding/" + name, own_folder());
  Json config = read_json(folder / "config.json");
  config[key] = value;
  std::ofstream(folder / "config.json") << config.dump();
  try {
    load_encoder(folder);
    return "none";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(EncoderConfig, BadValuesAreNamed) {
  struct Bad {
    const char *name, *key;
    Json value;
    const char* message;
  };
  const Bad all[] = {
      {"bert", "hidden_size", nullptr, "hidden_size is missing"},
      {"bert", "num_attention_heads", 5, "hidden_size must be a multiple of num_attention_heads, got 48 and 5"},
      {"bert", "vocab_size", 101, "embeddings.word_embeddings.weight must be a float tensor of shape [101, 48]"},
      {"bert", "position_embedding_type", "relative_key", "position_embedding_type 'relative_key' is not built in"},
      {"bert", "is_decoder", true, "is_decoder must be false for an encoder"},
      {"bert", "hidden_act", "mish", "activation 'mish' is not built in"},
      {"bert", "num_hidden_layers", 3, "missing: encoder.layer.2."},
      {"bert", "num_hidden_layers", 1, "unknown: encoder.layer.1."},
      {"xlm_roberta", "pad_token_id", 63, "max_position_embeddings must be above pad_token_id + 1, got 64"},
      {"distilbert", "n_heads", 5000, "n_heads must be in [1, 4096], got 5000"},
      {"mpnet", "relative_attention_num_buckets", 600, "relative_attention_num_buckets must be below 512"},
      {"modernbert_reranker", "classifier_pooling", "max", "classifier_pooling must be cls or mean, got max"},
      {"nomic_bert_published", "rotary_scaling_factor", 2, "rotary_scaling_factor must be null"},
      {"nomic_bert_mixture", "moe_top_k", 9, "moe_top_k must be in [1, 4], got 9"},
      {"new_published", "logn_attention_scale", true, "logn_attention_scale must be false"},
      {"jina_v3_published", "lora_adaptations", "all", "lora_adaptations must be a list of names, got \"all\""},
      {"lfm2", "is_causal", false, "bidirectional attention is not built in"},
  };
  for (const Bad& bad : all) {
    EXPECT_NE(refusal(bad.name, bad.key, bad.value).find(bad.message), std::string::npos)
        << bad.name << " " << bad.key << ": " << refusal(bad.name, bad.key, bad.value);
  }
}

TEST(Encoder, RefusesInputsOutOfRange) {
  const auto encoder = load_changed(
      "bert_wide", [](const auto& key, const auto& tensor, auto& changed) { changed.emplace(key, tensor); });
  const auto message = [&](const EncoderInputs& inputs) -> std::string {
    try {
      encoder->hidden(inputs);
      return "none";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(message({{1, 2}, {2}, {}}), "none");
  EXPECT_EQ(message({}), "[encoder] need at least one text");
  EXPECT_EQ(message({{1, 100}, {2}, {}}), "[encoder] ids must be in [0, 100), got 100 at 1");
  EXPECT_EQ(message({{1, 2}, {2, 0}, {}}), "[encoder] a text must have 1 to 64 tokens, text 1 has 0");
  EXPECT_EQ(message({{1, 2}, {1}, {}}), "[encoder] ids must have 1 entries, got 2");
  EXPECT_EQ(message({{1, 2}, {2}, {0}}), "[encoder] token_types must have 2 entries, got 1");
  EXPECT_EQ(message({{1, 2}, {2}, {0, 2}}), "[encoder] token_types must be in [0, 2), got 2");
  EXPECT_EQ(message({.ids = {1, 2}, .lengths = {2}, .attended = {3}}),
            "[encoder] attended must be in [1, 2], got 3 at 0");
  EXPECT_EQ(message({{1, 2}, {2}, {}, {0}}), "[encoder] tasks must be in [-1, 0), got 0");
  EXPECT_THROW(encoder->class_logits(encoder->hidden({{1}, {1}, {}}), {1}), Error);
}

// Vectors of sentence-transformers' pipeline, as transformers computes them in float32.
TEST(TrainedEncoder, GivesTheReferenceVectors) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const fs::path folder = fs::path(models ? models : "") / "all-MiniLM-L6-v2";
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto encoder = load_encoder(folder);
  auto recorded = mx::load_safetensors((golden::kCases / "embedding/all-MiniLM-L6-v2.safetensors").string()).first;
  const auto integers = [&](const char* name) {
    mx::array x = recorded.at(name);
    x.eval();
    return std::vector<int>(x.data<int32_t>(), x.data<int32_t>() + x.size());
  };
  const EncoderInputs inputs{integers("ids"), integers("lengths"), {}};
  const EmbeddingHead head({.poolings = {Pooling::mean}, .normalize = true}, folder, encoder->shape().hidden_size);
  const auto vectors = floats(head(encoder->hidden(inputs), inputs.lengths));
  const Likeness like = likeness(vectors, floats(recorded.at("vectors")), 384);
  EXPECT_GT(like.cosine, 0.99999);
  RecordProperty("cosine", fmt::format("{:.8f}", like.cosine));
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden::kCases / "embedding")) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenEncoder, testing::ValuesIn(cases()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlxk
