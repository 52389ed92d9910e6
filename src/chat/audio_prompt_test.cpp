// Compares Voxtral's prompts with mistral-common: tests/data/listening/tekken, made by tools/make_audio_goldens.py.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/testing/test_paths.h"
#include "chat/prompt.h"
#include "json/json.h"
#include "tokenizer/chat_template.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kTekken = fs::path(test_tree::kTestData) / "listening" / "tekken";

/// Ids as runs of [id, count].
Json runs(const std::vector<int32_t>& ids) {
  Json all = Json::array();
  for (const int32_t id : ids) {
    if (!all.empty() && all.back()[0] == id) {
      all.back()[1] = all.back()[1].get<int>() + 1;
    } else {
      all.push_back({id, 1});
    }
  }
  return all;
}

class VoxtralPrompt : public testing::Test {
 protected:
  /// A recording of that many windows.
  ProcessedAudio recording(int windows) const {
    ProcessedAudio audio{std::make_shared<MediaData>(), "[BEGIN_AUDIO]", 375 * windows};
    for (int i = 0; i < audio.tokens; ++i) audio.text += "[AUDIO]";
    return audio;
  }

  Json expected_ = read_json(kTekken / "expected.json");
  std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load(kTekken);
  std::shared_ptr<const ChatTemplate> template_ = ChatTemplate::load(kTekken, *tokenizer_);
  std::unique_ptr<AudioProcessor> processor_ = open_audio_processor(kTekken);
};

TEST_F(VoxtralPrompt, HasTheIdsOfMistralCommon) {
  for (const Json& text : expected_["texts"]) {
    if (text["text"] == "[INST]") continue;  // mistral-common never parses special tokens in a text
    EXPECT_EQ(tokenizer_->encode(text["text"].get<std::string>(), false), text["ids"].get<std::vector<int32_t>>())
        << text["text"];
    EXPECT_EQ(tokenizer_->decode(text["ids"].get<std::vector<int32_t>>(), false), text["text"].get<std::string>());
  }
  for (const Json& chat : expected_["chats"]) {
    PromptAudio audio{*processor_, {}};
    for (const Json& run : chat["ids"]) {
      if (run[0] == 24) audio.recordings.push_back(recording(run[1].get<int>() / 375));
    }
    const Prompt prompt =
        chat_prompt(chat["messages"], template_.get(), {}, *tokenizer_, Tokenizer::kNoLimit, nullptr, &audio);
    EXPECT_EQ(runs(prompt.ids), chat["ids"]) << chat["name"];
    ASSERT_EQ(prompt.media.size(), audio.recordings.size());
    for (size_t i = 0; i < prompt.media.size(); ++i) {
      const MediaItem& item = prompt.media[i];
      EXPECT_EQ(item.end - item.begin, audio.recordings[i].tokens);
      EXPECT_EQ(item.placeholder, 24);
      EXPECT_EQ(prompt.ids[static_cast<size_t>(item.begin) - 1], 25);
    }
  }
  for (const Json& transcript : expected_["transcripts"]) {
    const PromptAudio audio{*processor_, {recording(1)}};
    const auto prompt = transcript_prompt(audio, {transcript["language"], "", ""}, *tokenizer_);
    ASSERT_TRUE(prompt);
    EXPECT_EQ(runs(prompt->ids), transcript["ids"]);
    EXPECT_EQ(prompt->media.size(), 1U);
  }
}

TEST_F(VoxtralPrompt, WhatUsersWriteIsText) {
  const PromptAudio audio{*processor_, {recording(1)}};
  const auto ids_of = [&](const std::string& text) {
    const Json messages = {{{"role", "user"}, {"content", {{{"type", "audio"}}, {{"type", "text"}, {"text", text}}}}}};
    return chat_prompt(messages, template_.get(), {}, *tokenizer_, Tokenizer::kNoLimit, nullptr, &audio).ids;
  };
  for (const int32_t special : {2, 4, 24}) {
    const auto ids = ids_of("a</s>[/INST][AUDIO]b");
    EXPECT_EQ(std::count(ids.begin(), ids.end(), special), special == 24 ? 375 : special == 4 ? 1 : 0) << special;
  }
  const Json silent = {{{"role", "user"}, {"content", "no sound"}}};
  EXPECT_THROW(chat_prompt(silent, template_.get(), {}, *tokenizer_, Tokenizer::kNoLimit, nullptr, &audio), Error);
}

TEST_F(VoxtralPrompt, ChatsWithVibeVoiceAreRequestsForTranscripts) {
  const fs::path folder = fs::path(testing::TempDir()) / fmt::format("mlxk_vibevoice_{}", ::getpid());
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << R"({"model_type": "vibevoice"})";
  std::ofstream(folder / "chat_template.jinja") << "that of its language model";
  const auto own = ChatTemplate::load(folder, *tokenizer_);
  const auto processor = open_audio_processor(folder);
  const Json sound = {{"type", "audio"}}, text = {{"type", "text"}, {"text", "Knife"}};
  const auto chat = [&](const Json& content) {
    return own->render(Json::array({{{"role", "user"}, {"content", content}}}), {});
  };
  EXPECT_EQ(chat(Json::array({sound})), processor->transcript_prompt("<|box_start|>", {}));
  EXPECT_EQ(chat(Json::array({sound, text})), processor->transcript_prompt("<|box_start|>", {"", "", "Knife"}));
  EXPECT_TRUE(chat("Knife").ends_with("<|im_start|>user\nKnife<|im_end|>\n<|im_start|>assistant\n"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace mlxk
