// Tiny vision models against features, logits and tokens that tools/make_vision_model_goldens.py recorded.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "cpu/phase.h"
#include "json/json.h"
#include "kernels/device.h"
#include "models/load.h"
#include "models/testing/vision_prompt.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;
using golden::VisionPrompt;

const fs::path kVisionCases = fs::path(test_tree::kTestData) / "vision_models";
constexpr float kTolerance = 1e-3F;

std::vector<float> floats(const mx::array& x) {
  mx::array y = mx::contiguous(mx::astype(x, mx::float32));
  y.eval();
  return {y.data<float>(), y.data<float>() + y.size()};
}

/// The largest difference; infinite if sizes differ or a number is NaN.
float difference(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const float one = std::abs(a[i] - b[i]);
    if (!(one <= largest)) largest = std::isnan(one) ? INFINITY : one;
  }
  return largest;
}

float largest(const std::vector<float>& a) { return difference(a, std::vector<float>(a.size(), 0)); }

class VisionGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    json_ = read_json(kVisionCases / (GetParam() + ".json"));
    recorded_ = mx::load_safetensors((kVisionCases / (GetParam() + ".safetensors")).string()).first;
    folder_ = golden::write_case(json_, golden::temp_folder("vision_" + GetParam()));
    model_ = load_multimodal_model(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<float> recorded(const std::string& name, size_t i) const {
    return floats(recorded_.at(fmt::format("{}.{}", name, i)));
  }

  VisionPrompt prompt(size_t i) const {
    const Json& said = json_["prompts"][i];
    std::vector<MediaItem> items;
    for (const Json& one : said["items"]) {
      items.push_back({one["begin"], one["end"], one.value("placeholder", json_["placeholder"].get<int>()),
                       std::make_shared<MediaData>(golden::pixels(json_["images"][one["image"].get<size_t>()]))});
    }
    VisionPrompt made(*model_, said["ids"].get<std::vector<int>>(), items);
    const std::string attention = json_.value("attention", "causal");
    if (attention == "image_blocks") {
      for (const auto& item : items) made.ranges.emplace_back(item.begin, item.end);
    } else if (attention == "whole_prompt") {
      made.ranges.emplace_back(0, made.length());
    }
    return made;
  }
  /// Where a prompt may be cut.
  bool may_be_cut() const { return json_.value("attention", "causal") == "causal"; }

  /// Feeds the prompt in pieces of `piece` tokens; returns the last token's logits.
  std::vector<float> feed(const VisionPrompt& prompt, ModelCache& cache, int piece) const {
    std::vector<float> logits;
    for (int begin = 0; begin < prompt.length(); begin += piece) {
      logits = floats(model_->forward(prompt.part(begin, std::min(prompt.length(), begin + piece)), cache));
    }
    return logits;
  }

  /// One token for each row of a batch.
  Inputs step(const std::vector<int>& tokens, const std::vector<const VisionPrompt*>& rows,
              const ModelCache& cache) const {
    Inputs inputs;
    const int count = static_cast<int>(tokens.size());
    inputs.ids = mx::array(tokens.begin(), {count, 1}, mx::int32);
    const bool given = std::any_of(rows.begin(), rows.end(), [](const auto* row) { return row->has_positions(); });
    if (given) {
      std::vector<int> at;
      for (int axis = 0; axis < 3; ++axis) {
        for (size_t row = 0; row < rows.size(); ++row) at.push_back(cache.positions()[row] + rows[row]->shift());
      }
      inputs.positions = mx::array(at.begin(), {3, count, 1}, mx::int32);
    }
    return inputs;
  }

  Json json_;
  std::unordered_map<std::string, mx::array> recorded_;
  fs::path folder_;
  std::unique_ptr<Model> model_;
};

TEST_P(VisionGolden, FeaturesAreTheRecordedOnes) {
  for (size_t i = 0; i < json_["images"].size(); ++i) {
    const auto expected = recorded("features", i);
    const auto with = [&](Phase phase) {
      const PhaseScope scope(phase);
      return floats(model_->media_encoder()->encode(golden::pixels(json_["images"][i])).features);
    };
    const float exact = difference(with(Phase::prefill), expected), most = std::max(1.0F, largest(expected));
    EXPECT_LT(exact, 2e-4F * most) << "image " << i;
    EXPECT_LT(difference(with(Phase::encode), expected), 1e-2F * most) << "image " << i;
    RecordProperty(fmt::format("features_{}", i), fmt::format("{}", exact));
    fmt::print("{} features {}: {:.2g} of {:.3g}\n", GetParam(), i, exact, most);
  }
}

TEST_P(VisionGolden, LogitsAndGreedyTokensAreTheRecordedOnes) {
  const PhaseScope scope(Phase::prefill);
  for (size_t i = 0; i < json_["prompts"].size(); ++i) {
    const VisionPrompt given = prompt(i);
    const std::vector<int> greedy = json_["prompts"][i]["greedy"];
    for (const int piece : {given.length(), 5}) {
      if (piece == 5 && !may_be_cut()) continue;
      ModelCache cache = model_->make_cache(1);
      std::vector<float> logits = feed(given, cache, piece);
      const float far = difference(logits, recorded("logits", i));
      EXPECT_LT(far, kTolerance) << "prompt " << i << " in pieces of " << piece;
      if (piece != 5) fmt::print("{} logits {}: {:.2g} of {:.3g}\n", GetParam(), i, far, largest(logits));
      std::vector<int> tokens;
      while (tokens.size() < greedy.size()) {
        tokens.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
        logits = floats(model_->forward(step({tokens.back()}, {&given}, cache), cache));
      }
      EXPECT_EQ(tokens, greedy) << "prompt " << i << " in pieces of " << piece;
    }
  }
}

TEST_P(VisionGolden, InABatchWithTextGivesTheBitsOfItsOwn) {
  if (mx::default_device() != mx::Device::cpu) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  const PhaseScope scope(Phase::decode);
  const VisionPrompt seen = prompt(0), text(*model_, {11, 48, 85, 2, 39}, {});
  const std::vector<const VisionPrompt*> rows{&text, &seen};
  std::vector<ModelCache> parts, alone;
  for (auto* caches : {&parts, &alone}) {
    for (const auto* row : rows) {
      caches->push_back(model_->make_cache(1));
      feed(*row, caches->back(), row->length());
    }
  }
  for (int i = 0; i < 4; ++i) {
    const std::vector<int> next{(i * 29 + 3) % 100, (i * 31 + 7) % 100};
    const std::vector<ModelCache*> members{&parts[0], &parts[1]};
    ModelCache batched = ModelCache::batch(members);
    const auto together = floats(model_->forward(step(next, rows, batched), batched));
    batched.unbatch();
    std::vector<float> apart;
    for (size_t row = 0; row < 2; ++row) {
      const auto one = floats(model_->forward(step({next[row]}, {rows[row]}, alone[row]), alone[row]));
      apart.insert(apart.end(), one.begin(), one.end());
    }
    EXPECT_EQ(together, apart) << "step " << i;
  }
}

TEST_P(VisionGolden, RefusesMediaThatAreNoneOfItsOwn) {
  const MediaData good = golden::pixels(json_["images"][0]);
  const auto refused = [&](const MediaData& data) {
    try {
      model_->media_encoder()->encode(data);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::invalid;
    }
    return false;
  };
  EXPECT_FALSE(refused(good));
  MediaData bad = good;
  bad.shape = {};
  EXPECT_TRUE(refused(bad)) << "no shape";
  bad = good;
  bad.shape.back() += 1;
  EXPECT_TRUE(refused(bad)) << "other channels";
  bad = good;
  bad.values.pop_back();
  EXPECT_TRUE(refused(bad)) << "a value is missing";
}

/// A checkpoint's tensors under other names, and patch kernels in MLX's order.
struct Layout {
  const char* name;
  std::vector<std::pair<std::string, std::string>> prefixes;  // from, to; the first match applies
  bool mlx_kernels;
};

TEST(VisionLayouts, OfOtherToolsGiveTheSame) {
  const Layout all[] = {
      {"smolvlm",
       {{"model.text_model.", "language_model."},
        {"lm_head.", "language_model.lm_head."},
        {"model.vision_model.", "vision_model."},
        {"model.connector.", "connector."}},
       true},
      {"llava",
       {{"language_model.model.", "model.language_model."},
        {"language_model.lm_head.", "lm_head."},
        {"vision_tower.", "model.vision_tower."},
        {"multi_modal_projector.", "model.multi_modal_projector."}},
       false},
      {"llava", {{"vision_tower.", "vision_tower.vision_model."}}, true},
      {"gemma3",
       {{"language_model.model.", "model.language_model."},
        {"vision_tower.", "model.vision_tower.vision_model."},
        {"multi_modal_projector.", "model.multi_modal_projector."}},
       false},
      {"qwen2_vl",
       {{"visual.", "vision_tower."}, {"model.", "language_model.model."}, {"lm_head.", "language_model.lm_head."}},
       true},
      {"qwen2_vl", {{"visual.", "model.visual."}, {"model.", "model.language_model."}}, false},
      {"internvl_chat", {{"vision_model.", "vision_tower."}}, true},
      {"kimi_vl",
       {{"vision_tower.encoder.blocks.0.w", "vision_tower.blocks.0.attn.w"},
        {"vision_tower.encoder.blocks.1.w", "vision_tower.blocks.1.attn.w"},
        {"vision_tower.encoder.", "vision_tower."}},
       true},
      {"mllama",
       {{"model.vision_model.", "vision_tower."},
        {"model.multi_modal_projector.", "multi_modal_projector."},
        {"model.language_model.", "language_model.model."},
        {"lm_head.", "language_model.lm_head."}},
       true},
      {"fastvlm",
       {{"model.vision_tower.vision_tower.model.patch_embed.", "vision_tower.vision_model.patch_embed.blocks."},
        {"model.vision_tower.vision_tower.model.", "vision_tower.vision_model."},
        {"model.mm_projector.", "mm_projector."},
        {"model.", "language_model.model."},
        {"lm_head.", "language_model.lm_head."}},
       true},
      {"gemma3n",
       {{"model.vision_tower.", "vision_tower."},
        {"model.embed_vision.", "embed_vision."},
        {"model.audio_tower.", "audio_tower."},
        {"model.embed_audio.", "embed_audio."},
        {"model.language_model.", "language_model.model."}},
       true},
      {"molmo", {{"model.vision_backbone.", "vision_tower."}, {"model.transformer.", "language_model.model."}}, true},
      {"deepseekocr",
       {{"model.sam_model.", "sam_model."},
        {"model.vision_model.", "vision_model."},
        {"model.projector.", "projector."},
        {"model.image_newline", "image_newline"},
        {"model.view_seperator", "view_separator"},
        {"model.", "language_model.model."},
        {"lm_head.", "language_model.lm_head."}},
       true},
  };
  for (const Layout& layout : all) {
    const Json json = read_json(kVisionCases / (std::string(layout.name) + ".json"));
    const fs::path folder = golden::write_case(json, golden::temp_folder("vision_layout"));
    const auto features = [&] {
      const auto model = load_multimodal_model(folder);
      std::vector<float> all;
      for (const Json& image : json["images"]) {
        const auto one = floats(model->media_encoder()->encode(golden::pixels(image)).features);
        all.insert(all.end(), one.begin(), one.end());
      }
      return all;
    };
    const std::vector<float> expected = features();
    const std::string file = (folder / "model.safetensors").string();
    std::unordered_map<std::string, mx::array> renamed;
    for (const auto& [name, tensor] : mx::load_safetensors(file).first) {
      std::string as = name;
      for (const auto& [from, to] : layout.prefixes) {
        if (!name.starts_with(from)) continue;
        as = to + name.substr(from.size());
        break;
      }
      const bool kernel = layout.mlx_kernels && name.ends_with(".weight");
      mx::array kept = tensor;
      if (layout.mlx_kernels && name.find(".layer_scale") != name.npos && tensor.ndim() == 3) {
        kept = mx::contiguous(mx::transpose(tensor, {1, 2, 0}));
      }
      if (kernel && tensor.ndim() == 3 && name.find("conv1d") != name.npos) {
        kept = mx::contiguous(mx::transpose(tensor, {0, 2, 1}));
      }
      if (kernel && tensor.ndim() == 4) kept = mx::contiguous(mx::transpose(tensor, {0, 2, 3, 1}));
      if (kernel && tensor.ndim() == 5) kept = mx::contiguous(mx::transpose(tensor, {0, 2, 3, 4, 1}));
      renamed.emplace(as, kept);
    }
    for (auto& [name, array] : renamed) array.eval();
    mx::save_safetensors(file, renamed);
    EXPECT_EQ(features(), expected) << layout.name << " as " << layout.prefixes.front().second;
    fs::remove_all(folder);
  }
}

TEST(VisionLayouts, MicrosoftsNamesOfFlorence2GiveTheSame) {
  Json json = read_json(kVisionCases / "florence2.json");
  const fs::path folder = golden::write_case(json, golden::temp_folder("vision_florence2"));
  const auto answer = [&] {
    const auto model = load_multimodal_model(folder);
    const Json& said = json["prompts"][0];
    const Json& item = said["items"][0];
    const VisionPrompt prompt(
        *model, said["ids"].get<std::vector<int>>(),
        {{item["begin"], item["end"], json["placeholder"], with_digest(golden::pixels(json["images"][0]))}});
    ModelCache cache = model->make_cache(1);
    return floats(model->forward(prompt.part(0, 1), cache));
  };
  const std::vector<float> expected = answer();

  const std::pair<const char*, const char*> names[] = {
      {"model.vision_tower.", "vision_tower."},
      {"model.language_model.", "language_model.model."},
      {"model.multi_modal_projector.", ""},
      {"image_position_embed.", "image_pos_embed."},
      {".conv.", ".proj."},
      {".conv1.", ".conv1.fn.dw."},
      {".conv2.", ".conv2.fn.dw."},
      {"spatial_block.norm1.", "spatial_block.window_attn.norm."},
      {"channel_block.norm1.", "channel_block.channel_attn.norm."},
      {".window_attn.qkv.", ".window_attn.fn.qkv."},
      {".window_attn.proj.", ".window_attn.fn.proj."},
      {".channel_attn.qkv.", ".channel_attn.fn.qkv."},
      {".channel_attn.proj.", ".channel_attn.fn.proj."},
      {"_block.norm2.", "_block.ffn.norm."},
      {".ffn.fc", ".ffn.fn.net.fc"},
      {"image_projection.weight", "image_projection"},
  };
  const std::string file = (folder / "model.safetensors").string();
  for (const bool mlx_kernels : {false, true}) {
    golden::write_case(json, folder);
    std::unordered_map<std::string, mx::array> renamed;
    for (const auto& [key, value] : mx::load_safetensors(file).first) {
      std::string name = key;
      mx::array tensor = value;
      for (const auto& [from, to] : names) {
        if (const size_t at = name.find(from); at != name.npos) name.replace(at, std::string(from).size(), to);
      }
      if (name == "image_projection") tensor = mx::contiguous(mx::transpose(tensor));
      if (mlx_kernels && tensor.ndim() == 4) tensor = mx::contiguous(mx::transpose(tensor, {0, 2, 3, 1}));
      if (name == "language_model.model.shared.weight") {
        renamed.emplace("language_model.lm_head.weight", tensor);
        renamed.emplace("language_model.model.encoder.embed_tokens.weight", tensor);
      }
      renamed.emplace(name, tensor);
    }
    renamed.emplace("language_model.final_logits_bias", mx::zeros({1, 128}));
    for (auto& [name, array] : renamed) array.eval();
    mx::save_safetensors(file, renamed);
    Json config = json["config"];
    Json& vision = config["vision_config"];
    vision["dim_embed"] = vision["embed_dim"];
    vision["image_pos_embed"] = {{"type", "learned_abs_2d"}, {"max_pos_embeddings", 6}};
    vision["visual_temporal_embedding"] = {{"type", "COSINE"}, {"max_temporal_embeddings", 4}};
    vision["image_feature_source"] = {"spatial_avg_pool", "temporal_avg_pool"};
    for (const char* key : {"embed_dim", "max_position_embeddings", "max_temporal_embeddings"}) vision.erase(key);
    std::ofstream(folder / "config.json") << config.dump();
    EXPECT_EQ(answer(), expected) << mlx_kernels;
  }
  fs::remove_all(folder);
}

TEST(VisionLayouts, OtherNamesOfVibeVoiceGiveTheSame) {
  const Json json = read_json(kVisionCases / "vibevoice_asr.json");
  const fs::path folder = golden::write_case(json, golden::temp_folder("vision_vibevoice"));
  const auto features = [&] {
    const auto model = load_multimodal_model(folder);
    std::vector<float> all;
    for (const Json& image : json["images"]) {
      const auto one = floats(model->media_encoder()->encode(golden::pixels(image)).features);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  };
  const std::vector<float> expected = features();
  const std::pair<const char*, const char*> names[] = {
      // transformers' and Microsoft's
      {"_tokenizer_encoder.", "_tokenizer.encoder."},
      {"stem.conv.conv.", "downsample_layers.0.0.conv.conv."},
      {"conv_layers.0.conv.conv.", "downsample_layers.1.0.conv.conv."},
      {"conv_layers.1.conv.conv.", "downsample_layers.2.0.conv.conv."},
      {"stem.stage.", "stages.0."},
      {"conv_layers.0.stage.", "stages.1."},
      {"conv_layers.1.stage.", "stages.2."},
      {"encoder.head.conv.", "encoder.head.conv.conv."},
      {"mixer.conv.", "mixer.conv.conv.conv."},
      {"multi_modal_projector.acoustic_linear_1.", "acoustic_connector.fc1."},
      {"multi_modal_projector.acoustic_linear_2.", "acoustic_connector.fc2."},
      {"multi_modal_projector.acoustic_norm.", "acoustic_connector.norm."},
      {"multi_modal_projector.semantic_linear_1.", "semantic_connector.fc1."},
      {"multi_modal_projector.semantic_linear_2.", "semantic_connector.fc2."},
      {"multi_modal_projector.semantic_norm.", "semantic_connector.norm."},
  };
  const std::pair<const char*, const char*> shorter[] = {
      // mlx-audio's
      {".0.conv.conv.", ".conv."},
      {"head.conv.conv.", "head.conv."},
      {"mixer.conv.conv.conv.", "mixer.conv.conv."},
  };
  const auto replace = [](std::string& name, const auto& all) {
    for (const auto& [from, to] : all) {
      if (const size_t at = name.find(from); at != name.npos) name.replace(at, std::string(from).size(), to);
    }
  };
  Json config = {{"model_type", "vibevoice"}, {"decoder_config", json["config"]["text_config"]}};
  for (const char* side : {"acoustic", "semantic"}) {
    const Json& said = json["config"][fmt::format("{}_tokenizer_encoder_config", side)];
    config[fmt::format("{}_tokenizer_config", side)] = {{"encoder_n_filters", said["num_filters"]},
                                                        {"vae_dim", said["hidden_size"]},
                                                        {"encoder_depths", "1-2-1"},
                                                        {"encoder_ratios", {3, 2}}};
  }
  const std::string file = (folder / "model.safetensors").string();
  for (const bool mlx : {false, true}) {
    golden::write_case(json, folder);
    std::ofstream(folder / "config.json") << config.dump();
    std::unordered_map<std::string, mx::array> renamed;
    for (const auto& [key, value] : mx::load_safetensors(file).first) {
      std::string name = key;
      mx::array tensor = value;
      replace(name, names);
      if (mlx) {
        replace(name, shorter);
      } else if (name.starts_with("language_model.")) {
        name.erase(0, std::string("language_model.").size());
        if (name.starts_with("model.")) name.replace(0, 6, "model.language_model.");
      } else {
        name.insert(0, "model.");
      }
      if (mlx && tensor.ndim() == 3) tensor = mx::contiguous(mx::transpose(tensor, {0, 2, 1}));
      renamed.emplace(name, tensor);
    }
    if (!mlx) renamed.emplace("model.acoustic_tokenizer.decoder.head.conv.conv.bias", mx::zeros({1}));
    for (auto& [name, array] : renamed) array.eval();
    mx::save_safetensors(file, renamed);
    const std::vector<float> got = features();
    // One piece where transformers' configuration gives several.
    EXPECT_LT(difference(got, expected), 1e-5F * largest(expected)) << mlx;
  }
  fs::remove_all(folder);
}

TEST(VisionConfig, BadValuesAreNamed) {
  struct Bad {
    const char *name, *object, *key;
    Json value;
    const char* message;
  };
  const Bad all[] = {
      {"smolvlm", "vision_config", "num_attention_heads", 3,
       "vision_config] hidden_size must be a multiple of num_attention_heads, got 32 and 3"},
      {"smolvlm", "vision_config", "patch_size", 0, "vision_config.patch_size must be"},
      {"smolvlm", "vision_config", "patch_size", 64,
       "vision_config] patch_size must be at most image_size, got 64 and 40"},
      {"smolvlm", "vision_config", "hidden_act", "best", "vision_config] hidden_act 'best' is not built in"},
      {"smolvlm", nullptr, "scale_factor", 0, "scale_factor must be in [1, 64], got 0"},
      {"llava", nullptr, "vision_feature_layer", 9, "vision_feature_layer must be in [-4, 3], got 9"},
      {"llava", nullptr, "vision_feature_select_strategy", "best", "must be default or full, got best"},
      {"llava", nullptr, "projector_hidden_act", "best", "projector_hidden_act 'best' is not built in"},
      {"llava", "vision_config", "model_type", "dino", "vision_config] model_type 'dino' is not built in"},
      {"internvl", nullptr, "downsample_ratio", 0.3,
       "downsample_ratio must be 1 / n for a divisor n of 4 patches, got 0.3"},
      {"internvl", "vision_config", "image_size", {32, 40}, "image_size must hold one number"},
      {"gemma3n", nullptr, "vision_soft_tokens_per_image", 3, "vision_soft_tokens_per_image must be a square, got 3"},
      {"gemma3n", "audio_config", "conf_num_attention_heads", 3,
       "hidden_size must be an even multiple of conf_num_attention_heads, got 16 and 3"},
      {"gemma3n", "audio_config", "vocab_offset", 100, "must put the last of 128 tokens among those of audio, got 100"},
      {"gemma3n", "audio_config", "sscp_conv_channel_size", {4}, "sscp_conv_channel_size must be two numbers"},
      {"vibevoice_asr", "acoustic_tokenizer_encoder_config", "depths", {1, 2}, "must be one more than the 2 ratios"},
      {"vibevoice_asr",
       "acoustic_tokenizer_encoder_config",
       "downsampling_ratios",
       {2, 2},
       "must be the same for both"},
      {"molmo", "vision_config", "image_num_pos", 10, "image_num_pos must be one more than an even square, got 10"},
      {"molmo", "vision_config", "image_num_layers", 5, "image_num_layers must be 9 or more, got 5"},
      {"molmo", nullptr, "norm_after", true, "norm_after is not built in"},
      {"fastvlm", nullptr, "mm_projector_type", "linear", "mm_projector_type 'linear' is not built in"},
      {"mllama", "vision_config", "vision_output_dim", 128, "must be hidden_size for each of 3 states, 96, got 128"},
      {"mllama", "vision_config", "intermediate_layers_indices", {4}, "must hold numbers up to 3, got 4"},
      {"mllama",
       "vision_config",
       "supported_aspect_ratios",
       {{2, 3}},
       "must hold rows and columns of at most 4 tiles, got [2,3]"},
      {"florence2",
       "vision_config",
       "embed_dim",
       {8, 16, 30},
       "embed_dim must be multiples of num_heads and num_groups"},
      {"florence2", "vision_config", "embed_dim", {8, 16}, "depths must have an entry for each of 2 stages, got 3"},
      {"florence2", "vision_config", "patch_padding", {2, 1, 1}, "patch_padding must be half of an odd patch_size"},
      {"florence2", "vision_config", "patch_prenorm", {1, 2, 3}, "patch_prenorm must be a list of 3 true or false"},
      {"florence2", "vision_config", "projection_dim", 48, "projection_dim must be the text's d_model, 64, got 48"},
      {"florence2",
       "vision_config",
       "image_feature_source",
       {"last_frame"},
       "image_feature_source [\"last_frame\"] is not"},
      {"florence2", "text_config", "decoder_start_token_id", 128,
       "decoder_start_token_id must be in [0, 127], got 128"},
      {"kimi_vl", "vision_config", "num_attention_heads", 16,
       "num_attention_heads must give a head size that is a multiple of 4, got 2"},
      {"gemma3", nullptr, "mm_tokens_per_image", 9,
       "mm_tokens_per_image must be the square of a divisor of 4 patches, got 9"},
      {"qwen2_5_vl", "vision_config", "window_size", 4, "window_size must hold a merged patch, got 4"},
      {"qwen2_5_vl", "vision_config", "fullatt_block_indexes", {3}, "must hold numbers of blocks below 3, got 3"},
      {"qwen3_vl", "vision_config", "num_position_embeddings", 24, "num_position_embeddings must be a square, got 24"},
      {"lfm2_vl", "vision_config", "num_patches", 24, "num_patches must be a square, got 24"},
  };
  for (const Bad& bad : all) {
    Json json = read_json(kVisionCases / (std::string(bad.name) + ".json"));
    const fs::path folder = golden::write_case(json, golden::temp_folder("vision_config"));
    Json& config = json["config"];
    (bad.object ? config[bad.object] : config)[bad.key] = bad.value;
    std::ofstream(folder / "config.json") << config.dump();
    std::string message = "loaded";
    try {
      load_multimodal_model(folder);
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_NE(message.find(bad.message), message.npos) << bad.name << " " << bad.key << ": " << message;
    fs::remove_all(folder);
  }
}

TEST(Florence2, IsNotLoadedForTextAlone) {
  const fs::path folder =
      golden::write_case(read_json(kVisionCases / "florence2.json"), golden::temp_folder("florence2"));
  try {
    load_model(folder);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_STREQ(error.what(), "[florence2] its language model cannot be used alone: it needs an image");
  }
  fs::remove_all(folder);
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(kVisionCases)) {
    if (file.path().extension() == ".json") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tiny, VisionGolden, testing::ValuesIn(case_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlxk
