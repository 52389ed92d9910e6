// Images in a prompt, with an encoder whose features are the embeddings of known tokens: a prompt with images must give
// bit for bit the result of the prompt with these tokens.
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "backend/generation.h"
#include "backend/prefix_key.h"
#include "backend/testing/runs.h"
#include "base/error.h"
#include "kernels/cpu_op.h"
#include "models/load.h"
#include "models/testing/golden_model.h"
#include "models/testing/vision_prompt.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

constexpr int32_t kPlaceholder = 5;
constexpr int kVocab = 128;

/// An encoder whose features are the embeddings of the tokens that the data names.
class TokenEncoder : public MediaEncoder {
 public:
  TokenEncoder(const Model& model, int shift, bool adds) : model_(model), shift_(shift), adds_(adds) {}

  EncodedMedia encode(const MediaData& data) const override {
    ++encoded;
    std::vector<int32_t> ids(data.values.begin(), data.values.end());
    const auto count = static_cast<int>(ids.size());
    mx::array features = mx::squeeze(model_.embed(mx::array(ids.begin(), {1, count}, mx::int32)), 0);
    if (adds_) features = mx::subtract(features, model_.embed(mx::array({kPlaceholder}, mx::int32)));
    const mx::array twice = mx::add(features, features);
    return {mx::subtract(twice, features), {}, {features, twice}};
  }
  std::optional<MediaPositions> positions(std::span<const int32_t> prompt, std::span<const MediaItem>) const override {
    if (shift_ == 0) return std::nullopt;
    MediaPositions all{{}, shift_};
    for (int axis = 0; axis < 3; ++axis) {
      for (size_t i = 0; i < prompt.size(); ++i) all.axes.push_back(static_cast<int32_t>(i) + shift_);
    }
    return all;
  }

  bool adds_to_tokens() const override { return adds_; }

  mutable int encoded = 0;

 private:
  const Model& model_;
  const int shift_;
  const bool adds_;  // the features are what is added to the placeholder's embedding
};

struct VisionModel {
  std::unique_ptr<TextModel> text;
  const TokenEncoder* encoder;
};

/// A small model with M-RoPE.
std::unique_ptr<Model> text_model() {
  const fs::path folder = golden::write_model("qwen2_vl", golden::temp_folder("backend_media"));
  auto model = load_model(folder);
  fs::remove_all(folder);
  return model;
}

VisionModel vision_model(const LoadOptions& options = {}, int shift = 0, bool adds = false) {
  auto model = text_model();
  auto encoder = std::make_unique<TokenEncoder>(*model, shift, adds);
  const TokenEncoder* raw = encoder.get();
  model->set_media_encoder(std::move(encoder));
  return {make_text_model(std::move(model), options), raw};
}

/// A prompt of `length` tokens in which tokens [begin, end) are an image's placeholders, except every tenth of them.
struct Pair {
  GenerateRequest with_image, with_tokens;
};

Pair ask_about(int64_t length, int64_t begin, int64_t end, int salt) {
  Pair pair;
  pair.with_tokens = ask(length, kVocab, 12, salt);
  for (auto& id : pair.with_tokens.prompt) id += id == kPlaceholder ? 1 : 0;
  pair.with_image = pair.with_tokens;
  MediaData data;
  for (int64_t i = begin; i < end; ++i) {
    if (i > begin && i + 1 < end && i % 10 == 0) continue;
    int32_t& id = pair.with_image.prompt[static_cast<size_t>(i)];
    data.values.push_back(static_cast<float>(id));
    id = kPlaceholder;
  }
  data.shape = {static_cast<int>(data.values.size())};
  pair.with_image.media.push_back({begin, end, kPlaceholder, with_digest(std::move(data))});
  return pair;
}

TEST(Media, FeaturesStandForTheirPlaceholders) {
  const auto vision = vision_model();
  for (const auto& [length, begin, end] :
       {std::tuple{20, 3, 9}, std::tuple{40, 0, 39}, std::tuple{240, 20, 230}, std::tuple{9, 7, 8}}) {
    const Pair pair = ask_about(length, begin, end, 1);
    const auto events = run(*vision.text, {{pair.with_image}, {pair.with_tokens, 100}});
    ASSERT_FALSE(tokens_of(events[0]).empty());
    expect_same(tokens_of(events[0]), tokens_of(events[1]), static_cast<size_t>(length));
  }
}

TEST(Media, FeaturesAreAddedToTheirPlaceholdersIfTheEncoderSaysSo) {
  const auto vision = vision_model({}, 0, true);
  const Pair pair = ask_about(60, 5, 40, 9);
  const auto events = run(*vision.text, {{pair.with_image}, {pair.with_tokens, 100}});
  const auto tokens = tokens_of(events[0]), expected = tokens_of(events[1]);
  ASSERT_EQ(tokens.size(), expected.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i].token, expected[i].token) << i;
    EXPECT_NEAR(tokens[i].logprob, expected[i].logprob, 1e-4) << i;
  }
}

TEST(Media, AnswersDoNotDependOnTheBatch) {
  if (!cpu_is_default()) GTEST_SKIP() << "libmlx's GPU kernels are chosen by the number of rows";
  const auto vision = vision_model();
  std::vector<Arrival> together;
  std::vector<Pair> pairs;
  for (int i = 0; i < 5; ++i) pairs.push_back(ask_about(30 + 40 * i, 2 + i, 20 + 30 * i, i));
  for (int i = 0; i < 5; ++i) together.push_back({i % 2 ? pairs[i].with_image : pairs[i].with_tokens, i});
  const auto events = run(*vision.text, together);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto alone = run(*vision.text, {{pairs[i].with_tokens}});
    expect_same(tokens_of(events[i]), tokens_of(alone[0]), i);
  }
}

TEST(Media, AnImageIsEncodedOnceWhileItIsKept) {
  const auto vision = vision_model();
  const Pair pair = ask_about(60, 5, 40, 2);
  run(*vision.text, {{pair.with_image}});
  run(*vision.text, {{pair.with_image}});
  EXPECT_EQ(vision.encoder->encoded, 1);
  const auto forgetful = vision_model({.media_cache_bytes = 0});
  run(*forgetful.text, {{pair.with_image}});
  run(*forgetful.text, {{pair.with_image}});
  EXPECT_EQ(forgetful.encoder->encoded, 2);
}

TEST(Media, ThePrefixCacheTellsImagesApart) {
  const auto vision = vision_model({.prefix_cache_bytes = uint64_t{1} << 26});
  const Pair one = ask_about(220, 10, 200, 3), other = ask_about(220, 10, 200, 4);
  GenerateRequest swapped = one.with_image;  // the same ids with another image
  swapped.media = other.with_image.media;
  swapped.media.front().data = with_digest([&] {
    MediaData data = *one.with_image.media.front().data;
    std::reverse(data.values.begin(), data.values.end());
    return data;
  }());
  const auto first = run(*vision.text, {{one.with_image}});
  EXPECT_EQ(vision.text->cached_tokens(one.with_image), 219);
  EXPECT_LE(vision.text->cached_tokens(swapped), 10);
  EXPECT_LE(vision.text->cached_tokens(one.with_tokens), 10);
  const auto again = run(*vision.text, {{one.with_image}, {swapped, 1}});
  expect_same(tokens_of(again[0]), tokens_of(first[0]), 0);
  const auto fresh = vision_model();
  expect_same(tokens_of(again[1]), tokens_of(run(*fresh.text, {{swapped}})[0]), 1);
}

TEST(Media, AKeyNamesTheImageAndNotItsPlaceholders) {
  const Pair pair = ask_about(40, 5, 25, 5);
  const PrefixKey key = prefix_key(pair.with_image);
  EXPECT_TRUE(key.shareable);
  EXPECT_EQ(prefix_key(pair.with_tokens).tokens, pair.with_tokens.prompt);
  for (size_t i = 0; i < key.tokens.size(); ++i) {
    const bool is_placeholder = pair.with_image.prompt[i] == kPlaceholder;
    EXPECT_EQ(key.tokens[i] < 0, is_placeholder) << i;
    if (!is_placeholder) {
      EXPECT_EQ(key.tokens[i], pair.with_image.prompt[i]);
    }
  }
  GenerateRequest few = pair.with_image;
  few.media.front().end = few.media.front().begin + 3;
  EXPECT_FALSE(prefix_key(few).shareable) << "three words say too little of a digest";
  GenerateRequest both_ways = pair.with_image;
  both_ways.attend_both_ways = {{0, 40}};
  EXPECT_FALSE(prefix_key(both_ways).shareable) << "text sees what comes after it";
}

TEST(Media, AShiftOfAllPositionsChangesNothing) {
  const Pair pair = ask_about(80, 5, 60, 6);
  const auto plain = run(*vision_model().text, {{pair.with_image}});
  const auto shifted_model = vision_model({}, 9);
  const auto events = run(*shifted_model.text, {{pair.with_image}, {pair.with_tokens, 2}});
  const auto tokens = tokens_of(plain[0]), shifted = tokens_of(events[0]);
  ASSERT_EQ(tokens.size(), shifted.size());
  for (size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokens[i].token, shifted[i].token) << i;
}

TEST(Media, TokensThatSeeEachOtherAreComputedInOnePiece) {
  const auto vision = vision_model();
  Pair pair = ask_about(230, 100, 200, 7);  // with another request it is cut at 128 as well
  pair.with_image.attend_both_ways = {{100, 200}};
  GenerateRequest beside = ask_about(20, 1, 3, 1).with_tokens;
  beside.max_tokens = 100;
  const auto events = run(*vision.text, {{pair.with_image, 4}, {beside}});
  std::vector<int64_t> ends;
  for (const Event& event : events[0]) {
    if (const auto* prefill = std::get_if<PrefillEvent>(&event)) ends.push_back(prefill->done);
  }
  for (const int64_t end : ends) EXPECT_TRUE(end <= 100 || end >= 200) << end;
  EXPECT_GE(ends.size(), cpu_is_default() ? 2U : 1U);  // a GPU computes more at a time than the context has
  const Pair causal = ask_about(230, 100, 200, 7);
  const auto other = run(*vision.text, {{causal.with_image}});
  EXPECT_NE(tokens_of(events[0]).front().logprob, tokens_of(other[0]).front().logprob);
}

TEST(Media, AWholePromptThatSeesItselfIncludesItsLastToken) {
  const auto vision = vision_model();
  Pair pair = ask_about(30, 0, 20, 10);
  pair.with_image.attend_both_ways = {{0, 30}};
  GenerateRequest other_end = pair.with_image;
  other_end.attend_both_ways = {{0, 29}};
  const auto events = run(*vision.text, {{pair.with_image}, {other_end, 50}});
  ASSERT_EQ(tokens_of(events[0]).size(), tokens_of(events[1]).size());
  EXPECT_NE(tokens_of(events[0]).front().logprob, tokens_of(events[1]).front().logprob);
}

TEST(Media, WhatDoesNotFitIsRefusedByItself) {
  const auto vision = vision_model();
  const auto refusal = [&](GenerateRequest request) {
    try {
      vision.text->check(request);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("taken");
  };
  const Pair pair = ask_about(30, 4, 20, 8);
  GenerateRequest out = pair.with_image;
  out.media.front().end = 31;
  EXPECT_EQ(refusal(out), "[media 0] is at tokens [4, 31), which must be in order and within the prompt of 30");
  GenerateRequest twice = pair.with_image;
  twice.media.push_back(twice.media.front());
  EXPECT_EQ(refusal(twice), "[media 1] is at tokens [4, 20), which must be in order and within the prompt of 30");
  const auto text_only = make_text_model(text_model());
  EXPECT_THROW(text_only->check(pair.with_image), Error);

  GenerateRequest fewer = pair.with_image;  // fewer placeholders than features
  fewer.prompt[4] = 7;
  const auto events = run(*vision.text, {{fewer}, {pair.with_image}});
  const auto* failed = std::get_if<FailedEvent>(&events[0].back());
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->kind, ErrorKind::invalid);
  EXPECT_TRUE(std::holds_alternative<DoneEvent>(events[1].back()));
}

/// Llama 3.2 Vision, whose layers attend to images.
class CrossMediaTest : public testing::Test {
 protected:
  std::unique_ptr<TextModel> model(const LoadOptions& options = {}) const {
    const fs::path folder = golden::write_case(json_, golden::temp_folder("backend_cross_media"));
    auto loaded = load_multimodal_model(folder);
    fs::remove_all(folder);
    return make_text_model(std::move(loaded), options);
  }
  /// A prompt in which those tokens are images, the first and second of the case in turn.
  GenerateRequest look(int64_t length, const std::vector<int64_t>& at, int salt) const {
    GenerateRequest request = ask(length, 100, 12, salt);
    for (size_t i = 0; i < at.size(); ++i) {
      const int32_t placeholder = json_["placeholder"];
      request.prompt[static_cast<size_t>(at[i])] = placeholder;
      const auto image = with_digest(golden::pixels(json_["images"][i % 2]));
      request.media.push_back({at[i], at[i] + 1, placeholder, image});
    }
    return request;
  }

  const Json json_ = read_json(fs::path(test_tree::kTestData) / "vision_models" / "mllama.json");
};

TEST_F(CrossMediaTest, AnswersDoNotDependOnTheBatchNorOnWhereThePromptIsCut) {
  const std::vector<Arrival> all{{look(20, {3}, 1)},
                                 {look(30, {}, 2)},
                                 {look(300, {2, 127, 128, 260}, 3), 2},  // beside others it is cut at 128
                                 {look(40, {0, 38}, 4), 5},
                                 {look(9, {}, 5), 7}};
  const auto events = run(*model(), all);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto alone = run(*model(), {{all[i].request}});
    ASSERT_EQ(tokens_of(events[i]).size(), 12U) << i;
    expect_same(tokens_of(events[i]), tokens_of(alone[0]), i);
  }
}

TEST_F(CrossMediaTest, DraftedTokensChangeNothing) {
  const std::vector<Arrival> all{{look(260, {2, 127, 128, 210}, 1)}, {look(230, {}, 2)}};
  const auto drafted = run(*model({.prompt_lookup = PromptLookup::on}), all);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto alone = run(*model({.prompt_lookup = PromptLookup::off}), {{all[i].request}});
    expect_same(tokens_of(drafted[i]), tokens_of(alone[0]), i);
    EXPECT_GT(std::get<DoneEvent>(drafted[i].back()).usage.drafted_tokens, 0) << i;
  }
}

TEST_F(CrossMediaTest, AnImageIsSeenAndNotOnlyItsToken) {
  GenerateRequest one = look(20, {3}, 1), other = one;
  other.media.front().data = with_digest(golden::pixels(json_["images"][1]));
  const auto text = model();
  const auto seen = tokens_of(run(*text, {{one}})[0]), other_seen = tokens_of(run(*text, {{other}})[0]);
  EXPECT_NE(seen.front().logprob, other_seen.front().logprob);
}

TEST_F(CrossMediaTest, OnlyPromptsWithoutImagesShareTheirBeginning) {
  const auto text = model({.prefix_cache_bytes = uint64_t{1} << 26});
  const GenerateRequest plain = look(220, {}, 3), seeing = look(220, {200}, 3);
  const auto plain_alone = run(*text, {{plain}});
  const auto seen = run(*text, {{seeing}});
  EXPECT_EQ(text->cached_tokens(plain), 219);
  EXPECT_EQ(text->cached_tokens(seeing), 0);
  const auto again = run(*text, {{plain}, {seeing, 1}});
  expect_same(tokens_of(again[0]), tokens_of(plain_alone[0]), 0);
  expect_same(tokens_of(again[1]), tokens_of(seen[0]), 1);
}

TEST_F(CrossMediaTest, AnImageHasOneToken) {
  GenerateRequest wide = look(20, {3}, 1);
  wide.media.front().end = 5;
  const auto events = run(*model(), {{wide}});
  const auto* failed = std::get_if<FailedEvent>(&events[0].back());
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->kind, ErrorKind::invalid);
  EXPECT_EQ(failed->message, "[media 0] must be one placeholder token in the prompt, but is at tokens [3, 5)");
}

/// Florence-2, whose decoder attends to the encoded prompt.
class PromptEncoderTest : public testing::Test {
 protected:
  std::unique_ptr<TextModel> model(const LoadOptions& options = {}) const {
    const fs::path folder = golden::write_case(json_, golden::temp_folder("backend_prompt_encoder"));
    auto loaded = load_multimodal_model(folder);
    fs::remove_all(folder);
    return make_text_model(std::move(loaded), options);
  }
  /// Prompt `i` of the case.
  GenerateRequest recorded(size_t i) const {
    GenerateRequest request = ask(1, 100, 12, 1);
    const Json& prompt = json_["prompts"][i];
    request.prompt = prompt["ids"].get<std::vector<int32_t>>();
    for (const Json& item : prompt["items"]) {
      request.media.push_back({item["begin"], item["end"], json_["placeholder"],
                               with_digest(golden::pixels(json_["images"][item["image"].get<size_t>()]))});
    }
    return request;
  }
  std::vector<int32_t> greedy(size_t i) const { return json_["prompts"][i]["greedy"].get<std::vector<int32_t>>(); }
  static std::vector<int32_t> ids_of(const std::vector<Event>& events) {
    std::vector<int32_t> ids;
    for (const TokenEvent& token : tokens_of(events)) ids.push_back(token.token);
    return ids;
  }

  const Json json_ = read_json(fs::path(test_tree::kTestData) / "vision_models" / "florence2.json");
};

TEST_F(PromptEncoderTest, AnswersAreTheRecordedOnesAloneAndBesideOthers) {
  for (const LoadOptions& options : {LoadOptions{}, LoadOptions{.prefix_cache_bytes = uint64_t{1} << 26}}) {
    const auto text = model(options);
    const auto events = run(*text, {{recorded(0)}, {recorded(1), 3}, {recorded(0), 400}});
    for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(ids_of(events[i]), greedy(i % 2)) << i;
    const auto& usage = std::get<DoneEvent>(events[2].back()).usage;
    EXPECT_EQ(usage.prompt_tokens, 22);
    EXPECT_EQ(usage.image_tokens, 10);
    EXPECT_EQ(usage.cached_images, 1) << "another prompt about the same image encodes it once";
    EXPECT_EQ(usage.cached_tokens, 0) << "a prompt's encoding depends on all of it";
  }
}

TEST_F(PromptEncoderTest, TheDecoderSeesTheTextToo) {
  GenerateRequest other = recorded(0);
  other.prompt.back() = 3;
  const auto text = model();
  const auto one = tokens_of(run(*text, {{recorded(0)}})[0]), two = tokens_of(run(*text, {{other}})[0]);
  EXPECT_NE(one.front().logprob, two.front().logprob);
}

TEST_F(PromptEncoderTest, TextAloneIsRefused) {
  try {
    model()->check(ask(20, 100, 12, 1));
    FAIL() << "taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    EXPECT_STREQ(e.what(), "the model needs an image");
  }
}

}  // namespace
}  // namespace mlxk
