// A small Whisper of random weights with its tensors in several spellings, and its decoder in pieces.
#include <gtest/gtest.h>

#include <algorithm>

#include "cpu/phase.h"
#include "json/json.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"
#include "models/audio/seq2seq_net.h"
#include "models/registry.h"

namespace mlxk {

std::unique_ptr<SpeechNet> make_whisper(const Config& config, Weights& weights);  // models.inc
namespace {

constexpr int kState = 32, kPositions = 20, kVocab = 60, kMels = 8;

const Json kOwn =
    Json::parse(R"({"model_type": "whisper", "n_mels": 8, "n_vocab": 60, "n_audio_ctx": 20, "n_audio_state": 32,
  "n_audio_head": 2, "n_audio_layer": 2, "n_text_ctx": 16, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 2})");
const Json kTransformers = Json::parse(R"({"model_type": "whisper", "num_mel_bins": 8, "vocab_size": 60,
  "max_source_positions": 20, "max_target_positions": 16, "d_model": 32, "encoder_attention_heads": 2,
  "decoder_attention_heads": 2, "encoder_layers": 2, "decoder_layers": 2, "alignment_heads": [[1, 0]]})");

Weights::Tensors own_tensors() {
  Weights::Tensors tensors;
  uint64_t seed = 1;
  const auto add = [&](const std::string& name, mx::Shape shape) {
    mx::array value = mx::multiply(mx::random::normal(std::move(shape), mx::random::key(seed++)), mx::array(0.2F));
    value.eval();
    tensors.emplace(name, value);
  };
  const auto linear = [&](const std::string& name, int out, int in, bool bias = true) {
    add(name + ".weight", {out, in});
    if (bias) add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kState});
    add(name + ".bias", {kState});
  };
  add("encoder.conv1.weight", {kState, 3, kMels});
  add("encoder.conv1.bias", {kState});
  add("encoder.conv2.weight", {kState, 3, kState});
  add("encoder.conv2.bias", {kState});
  norm("encoder.ln_post");
  norm("decoder.ln");
  add("decoder.token_embedding.weight", {kVocab, kState});
  add("decoder.positional_embedding", {16, kState});
  for (const char* side : {"encoder", "decoder"}) {
    for (int i = 0; i < 2; ++i) {
      const std::string block = std::string(side) + ".blocks." + std::to_string(i);
      for (const char* kind : {".attn", ".cross_attn"}) {
        if (std::string(side) == "encoder" && std::string(kind) == ".cross_attn") continue;
        norm(block + kind + "_ln");
        for (const char* part : {".query", ".key", ".value", ".out"}) {
          linear(block + kind + part, kState, kState, std::string(part) != ".key");
        }
      }
      norm(block + ".mlp_ln");
      linear(block + ".mlp1", 4 * kState, kState);
      linear(block + ".mlp2", kState, 4 * kState);
    }
  }
  return tensors;
}

/// The same under Hugging Face's names, with convolutions in PyTorch's order.
Weights::Tensors transformers_tensors() {
  const std::pair<const char*, const char*> names[] = {
      {".blocks.", ".layers."},
      {".cross_attn_ln", ".encoder_attn_layer_norm"},
      {".attn_ln", ".self_attn_layer_norm"},
      {".mlp_ln", ".final_layer_norm"},
      {".cross_attn.", ".encoder_attn."},
      {".attn.", ".self_attn."},
      {".query.", ".q_proj."},
      {".key.", ".k_proj."},
      {".value.", ".v_proj."},
      {".out.", ".out_proj."},
      {".mlp1.", ".fc1."},
      {".mlp2.", ".fc2."},
      {"encoder.ln_post", "encoder.layer_norm"},
      {"decoder.ln", "decoder.layer_norm"},
      {"token_embedding", "embed_tokens"},
      {"decoder.positional_embedding", "decoder.embed_positions.weight"}};
  Weights::Tensors renamed;
  for (auto& [name, tensor] : own_tensors()) {
    std::string other = "model." + name;
    for (const auto& [from, to] : names) {
      const size_t at = other.find(from);
      if (at != std::string::npos) other.replace(at, std::string(from).size(), to);
    }
    const bool conv = other.find(".conv") != std::string::npos && tensor.ndim() == 3;
    renamed.emplace(other, conv ? mx::contiguous(mx::transpose(tensor, {0, 2, 1})) : tensor);
  }
  renamed.emplace("model.encoder.embed_positions.weight", mx::zeros({kPositions, kState}));
  renamed.emplace("proj_out.weight", mx::zeros({kVocab, kState}));
  return renamed;
}

std::unique_ptr<Seq2SeqNet> make(const Json& json, Weights::Tensors tensors) {
  const Config config(json, "whisper");
  Weights weights(std::move(tensors), QuantizationConfig(config));
  auto net = make_whisper(config, weights);
  weights.check();
  return std::unique_ptr<Seq2SeqNet>(dynamic_cast<Seq2SeqNet*>(net.release()));
}

mx::array sound() { return mx::random::normal({1, 2 * kPositions, kMels}, mx::random::key(99)); }

mx::array tokens(std::initializer_list<int> ids) {
  return mx::array(ids.begin(), {1, static_cast<int>(ids.size())}, mx::int32);
}

WindowKeys keys_of(const Seq2SeqNet& net, const mx::array& sound) { return net.window_keys(net.encode(sound).frames); }

mx::array logits(const Seq2SeqNet& net) {
  const WindowKeys window = keys_of(net, sound());
  ModelCache cache = net.make_cache(1);
  return net.forward(tokens({1, 2, 3}), cache, {&window}, false);
}

float difference(const mx::array& a, const mx::array& b) { return mx::max(mx::abs(mx::subtract(a, b))).item<float>(); }

TEST(Whisper, HuggingFacesFilesAreTheSameModel) {
  const auto own = make(kOwn, own_tensors()), other = make(kTransformers, transformers_tensors());
  EXPECT_EQ(difference(logits(*own), logits(*other)), 0);
  EXPECT_EQ(own->shape().alignment_heads.size(), 2U);  // all of the upper half, if nothing names them
  EXPECT_EQ(other->shape().alignment_heads, (std::vector<std::pair<int, int>>{{1, 0}}));
}

TEST(Whisper, OneTokenAfterTheOtherGivesWhatAllAtOnceGive) {
  const auto net = make(kOwn, own_tensors());
  const WindowKeys window = keys_of(*net, sound());
  ModelCache cache = net->make_cache(1);
  const mx::array all = logits(*net);
  const int ids[] = {1, 2, 3};
  for (int i = 0; i < 3; ++i) {
    const mx::array one = net->forward(tokens({ids[i]}), cache, {&window}, true);
    EXPECT_LT(difference(one, mx::slice(all, {0, i, 0}, {1, i + 1, kVocab})), 1e-4F) << i;
  }
}

TEST(Whisper, RowsListenToTheirOwnSound) {
  const auto net = make(kOwn, own_tensors());
  const WindowKeys first = keys_of(*net, sound()), second = keys_of(*net, mx::negative(sound()));
  ModelCache one = net->make_cache(1), two = net->make_cache(2);
  const mx::array alone = net->forward(tokens({5}), one, {&second}, true);
  const int same[] = {5, 5};
  const mx::array both = net->forward(mx::array(same, {2, 1}, mx::int32), two, {&first, &second}, true);
  EXPECT_LT(difference(mx::slice(both, {1, 0, 0}, {2, 1, kVocab}), alone), 1e-5F);
  EXPECT_GT(difference(mx::slice(both, {0, 0, 0}, {1, 1, kVocab}), alone), 1e-3F);
}

TEST(Whisper, EncodingInShortIntegersIsNearTheExactSum) {
  const auto net = make(kOwn, own_tensors());
  const auto keys = [&](Phase phase) {
    const PhaseScope scope(phase);
    mx::array keys = keys_of(*net, sound()).back().keys;
    keys.eval();
    return mx::astype(keys, mx::float32);
  };
  EXPECT_LT(difference(keys(Phase::encode), keys(Phase::prefill)), 5e-3F);
}

TEST(Whisper, RefusesWhatDoesNotFit) {
  Json odd = kOwn;
  odd["n_audio_head"] = 5;
  EXPECT_THROW(make(odd, own_tensors()), Error);
  Json heads = kTransformers;
  heads["alignment_heads"] = Json::parse("[[7, 0]]");
  EXPECT_THROW(make(heads, transformers_tensors()), Error);
  auto missing = own_tensors();
  missing.erase("decoder.blocks.1.cross_attn.value.bias");
  EXPECT_THROW(make(kOwn, std::move(missing)), Error);
  const auto net = make(kOwn, own_tensors());
  EXPECT_THROW(net->encode(mx::zeros({1, 3, kMels})), Error);
  const WindowKeys window = keys_of(*net, sound());
  ModelCache cache = net->make_cache(1);
  EXPECT_THROW(net->forward(mx::zeros({1, 17}, mx::int32), cache, {&window}, true), Error);
}

}  // namespace
}  // namespace mlxk
