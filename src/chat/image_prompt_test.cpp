#include "chat/image_prompt.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "chat/testing/small_tokenizer.h"
#include "tokenizer/chat_template.h"

namespace mlxk {
namespace {

/// Each image is `<pic>`, and this many tokens `<i>` between brackets.
class FakeProcessor : public ImageProcessor {
 public:
  ProcessedImage process(const Image&) const override { return {}; }
  std::string placeholder(int) const override { return "<pic>"; }
  std::string image_token() const override { return "<i>"; }
  Attention attention() const override { return attends; }

  Attention attends = Attention::causal;
};

ProcessedImage image_of(int tokens) {
  MediaData data;
  data.values = {static_cast<float>(tokens)};
  std::string text = "[";
  for (int i = 0; i < tokens; ++i) text += "<i>";
  return {with_digest(std::move(data)), text + "]", tokens};
}

struct ImagePrompt : ::testing::Test {
  Prompt prompt(const Json& messages, const std::vector<int>& images, const char* source = kList) {
    PromptImages all{processor, {}};
    for (const int tokens : images) all.images.push_back(image_of(tokens));
    const auto chat_template = source ? ChatTemplate::compile(source, Json::object()) : nullptr;
    return chat_prompt(messages, chat_template.get(), {}, *tokenizer, Tokenizer::kNoLimit, &all);
  }
  std::string refusal(const Json& messages, const std::vector<int>& images) {
    try {
      return "not refused: " + prompt(messages, images).text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::invalid);
      return e.what();
    }
  }

  static constexpr const char* kList =
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
      "{% if p.type == 'image' %}<pic>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}";
  static constexpr const char* kString = "{% for m in messages %}{{ m.content }}{% endfor %}";

  std::shared_ptr<const Tokenizer> tokenizer =
      testing::small_tokenizer({"<unk>", "<i>", "<pic>", "[", "]", "]a["}, {"<i>", "<pic>"});
  FakeProcessor processor;
  const Json image = {{"type", "image"}};
};

Json part(const char* text) { return {{"type", "text"}, {"text", text}}; }
Json user(Json content) { return {{"role", "user"}, {"content", std::move(content)}}; }

TEST_F(ImagePrompt, EachImageTakesThePlaceOfItsPlaceholder) {
  const Prompt got = prompt(Json::array({user({image, part("a"), image})}), {3, 1});
  EXPECT_EQ(got.text, "[<i><i><i>]a[<i>]");
  EXPECT_EQ(got.ids, (std::vector<int32_t>{3, 1, 1, 1, 5, 1, 4}));
  ASSERT_EQ(got.media.size(), 2);
  EXPECT_EQ(got.media[0].begin, 1);
  EXPECT_EQ(got.media[0].end, 4);
  EXPECT_EQ(got.media[1].begin, 5);
  EXPECT_EQ(got.media[1].end, 6);
  EXPECT_EQ(got.media[1].placeholder, 1);
  EXPECT_EQ(got.media[1].data->values.front(), 1);
  EXPECT_TRUE(got.attend_both_ways.empty());
}

TEST_F(ImagePrompt, ATemplateOfStringsGetsThePlaceholdersInFront) {
  EXPECT_EQ(prompt(Json::array({user({part("a"), image, image})}), {1, 2}, kString).text, "[<i>]\n[<i><i>]\na");
}

TEST_F(ImagePrompt, WithoutATemplateImagesStandBeforeTheLastUsersText) {
  EXPECT_EQ(prompt(Json::array({user("b"), user({part("a"), image})}), {2}, nullptr).text, "[<i><i>]a");
}

TEST_F(ImagePrompt, WhatAUserWritesIsNoImage) {
  const Prompt got = prompt(Json::array({user({image, part("<pic>a<i>")})}), {2});
  EXPECT_EQ(got.text, "[<i><i>]<pic>a<i>");
  ASSERT_EQ(got.media.size(), 1);
  EXPECT_EQ(got.media[0].end, 3);
}

TEST_F(ImagePrompt, PlaceholdersWithoutImagesAreRefused) {
  const Json system = {{"role", "system"}, {"content", "<pic>"}};
  EXPECT_EQ(refusal(Json::array({system, user({image, part("a")})}), {1}),
            "the prompt must have one placeholder <pic> for each of 1 images");
  const Json token = {{"role", "system"}, {"content", "<i>"}};
  EXPECT_EQ(refusal(Json::array({user({image, part("a")}), token}), {1}),
            "the prompt has more tokens <i> than its images need");
}

TEST_F(ImagePrompt, BlocksAndWholePromptsSeeThemselves) {
  const Json messages = Json::array({user({image, part("a"), image})});
  processor.attends = ImageProcessor::Attention::image_blocks;
  EXPECT_EQ(prompt(messages, {3, 1}).attend_both_ways, (std::vector<TokenRange>{{1, 4}, {5, 6}}));
  processor.attends = ImageProcessor::Attention::whole_prompt;
  EXPECT_EQ(prompt(messages, {3, 1}).attend_both_ways, (std::vector<TokenRange>{{0, 7}}));
}

}  // namespace
}  // namespace mlxk
