// Compares with transformers: tests/data/listening, made by tools/make_audio_goldens.py.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "audio/processor.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "json/json.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kListening = fs::path(test_tree::kTestData) / "listening";

/// The counterpart of sound() in the script.
std::vector<float> sound(int64_t count) {
  std::vector<float> samples;
  for (int64_t i = 0; i < count; ++i) {
    const float hiss = static_cast<float>((i * i * 7 + i * 13) % 2003 - 1001) / 4096.0F;
    const bool pause = i >= count / 3 && i < count / 2;
    samples.push_back(pause ? 0 : hiss * (static_cast<float>(i % 9001) / 9001.0F));
  }
  return samples;
}

class Folder {
 public:
  explicit Folder(const Json& files) : path_(fs::path(testing::TempDir()) / fmt::format("mlxk_audio_{}", ::getpid())) {
    fs::create_directories(path_);
    for (const auto& [name, content] : files.items()) std::ofstream(path_ / name) << content.dump();
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class AudioFamily : public testing::TestWithParam<const char*> {};

TEST_P(AudioFamily, PreparesRecordingsAsTransformersDoes) {
  for (const Json& golden : read_json(kListening / fmt::format("{}.json", GetParam()))) {
    SCOPED_TRACE(golden["samples"].dump());
    const Folder folder(golden["settings"]);
    const auto processor = open_audio_processor(folder.path());
    const ProcessedAudio result = processor->process(sound(golden["samples"]));
    const MediaData& data = *result.data;
    EXPECT_EQ(data.kind, MediaKind::audio);
    EXPECT_EQ(data.shape, golden["shape"].get<std::vector<int>>());
    EXPECT_EQ(data.grid, golden["grid"].get<std::vector<int>>());
    ASSERT_EQ(result.tokens, golden["tokens"].get<int>());
    std::string text = golden["text"][0];
    for (int i = 0; i < result.tokens; ++i) text += golden["text"][1].get<std::string>();
    if (golden["text"].size() > 2) text += golden["text"][2].get<std::string>();
    EXPECT_EQ(result.text, text);
    EXPECT_EQ(processor->audio_token(), golden["text"][1].get<std::string>());
    const auto step = golden["step"].get<size_t>();
    const double bound = 1e-5 * golden["most"].get<double>();
    double mean = 0, apart = 0;
    for (const float value : data.values) mean += value;
    for (size_t i = 0; i < golden["values"].size(); ++i) {
      ASSERT_LT(i * step, data.values.size());
      apart = std::max(apart, std::abs(data.values[i * step] - golden["values"][i].get<double>()));
    }
    EXPECT_LE(apart, bound);
    EXPECT_NEAR(mean / static_cast<double>(data.values.size()), golden["mean"].get<double>(), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(All, AudioFamily,
                         testing::Values("gemma3n", "gemma4", "voxtral", "qwen2_audio", "qwen3_asr", "vibevoice_asr"),
                         [](const auto& info) { return std::string(info.param); });

const Json kQwen2 = {{"config.json", {{"model_type", "qwen2_audio"}, {"audio_config", {{"num_mel_bins", 128}}}}}};
const Json kQwen3 = {{"config.json", {{"model_type", "qwen3_asr"}, {"audio_config", {{"num_mel_bins", 128}}}}}};
const Json kVoxtral = {{"config.json", {{"model_type", "voxtral"}, {"audio_config", {{"num_mel_bins", 128}}}}}};

std::string refusal(const Json& settings, const std::function<void(const AudioProcessor&)>& use = {}) {
  const Folder folder(settings);
  try {
    const auto processor = open_audio_processor(folder.path());
    if (use) use(*processor);
  } catch (const Error& error) {
    return error.what();
  }
  return "taken";
}

TEST(AudioProcessor, RefusesWhatItCannotTake) {
  const auto takes = [](int64_t count) {
    return [count](const AudioProcessor& processor) { processor.process(sound(count)); };
  };
  EXPECT_EQ(refusal(kQwen2, takes(100)), "the recording is too short for this model: less than 0.03 seconds");
  EXPECT_EQ(refusal(kQwen2, takes(480'001)), "the recording has 30.0 seconds, this model accepts 30 at most");
  EXPECT_EQ(refusal(kVoxtral, takes(1)), "taken");
  Json broken = kVoxtral;
  broken["config.json"]["audio_config"]["num_mel_bins"] = 0;
  EXPECT_NE(refusal(broken).find("num_mel_bins: must be a whole number from 1 to 1024"), std::string::npos);
  broken = kVoxtral;
  broken["preprocessor_config.json"] = {{"hop_length", 100}};
  EXPECT_NE(refusal(broken).find("preprocessor_config.json] hop_length: must be 160"), std::string::npos);
  const Json gemma = {{"config.json", {{"model_type", "gemma3n"}}}};
  EXPECT_EQ(refusal(gemma, takes(512)), "the recording is too short for this model: 0.03 seconds");
  EXPECT_EQ(refusal(gemma, takes(480'001)), "the recording has 30.0 seconds, this model accepts 30 at most");
  broken["config.json"]["model_type"] = "novel";
  EXPECT_NE(refusal(broken).find("no audio processor for model_type \"novel\""), std::string::npos);
}

TEST(AudioProcessor, TellsTheSecondsThatFit) {
  const Folder folder(kVoxtral);
  const auto processor = open_audio_processor(folder.path());
  EXPECT_EQ(processor->most_seconds(375), 30);
  EXPECT_EQ(processor->most_seconds(749), 30);
  EXPECT_EQ(processor->most_seconds(374), 0);
  EXPECT_FALSE(processor->takes_context());
}

TEST(AudioProcessor, WritesAndReadsTranscriptsOfQwen3Asr) {
  const Folder folder(kQwen3);
  const auto processor = open_audio_processor(folder.path());
  EXPECT_EQ(
      processor->transcript_prompt("<|audio_pad|>", {"en", "english", "Knife"}),
      "<|im_start|>system\nKnife<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
      "<|im_start|>assistant\nlanguage English<asr_text>");
  const auto read = [&](const std::string& answer) {
    const HeardText heard = processor->read_transcript(answer);
    return heard.language + ": " + heard.text;
  };
  EXPECT_EQ(read("language English<asr_text>Hello."), "English: Hello.");
  EXPECT_EQ(read("language None<asr_text>"), ": ");
  EXPECT_EQ(read(" Hello. "), ": Hello.");
  std::string loop = "ok ";
  for (int i = 0; i < 30; ++i) loop += "né";
  EXPECT_EQ(read(loop), ": ok né");
  EXPECT_EQ(read("aaaaaaaaaaaaaaaaaaaa"), ": aaaaaaaaaaaaaaaaaaaa");  // twenty repetitions are kept
  EXPECT_EQ(read("aaaaaaaaaaaaaaaaaaaaa!"), ": a!");
}

TEST(AudioProcessor, WritesAndReadsTranscriptsOfVibeVoice) {
  const Json settings = {{"config.json", {{"model_type", "vibevoice"}}}};
  const Folder folder(settings);
  const auto processor = open_audio_processor(folder.path());
  EXPECT_EQ(processor->rate(), 24'000);
  EXPECT_EQ(processor->most_seconds(75), 10);
  EXPECT_EQ(processor->most_seconds(1 << 20), 3600);
  EXPECT_EQ(
      processor->transcript_prompt("SOUND", {"", "", "Knife"}),
      "<|im_start|>system\nYou are a helpful assistant that transcribes audio input into text output in JSON "
      "format.<|im_end|>\n<|im_start|>user\nSOUND, with extra info: Knife\n\nPlease transcribe it with these keys: "
      "Start time, End time, Speaker ID, Content<|im_end|>\n<|im_start|>assistant\n");
  const auto read = [&](const std::string& answer) {
    const HeardText heard = processor->read_transcript(answer);
    std::string all = heard.text;
    for (const auto& one : heard.segments) {
      all += fmt::format(" | {} {} {} {}", one.start, one.end, one.speaker, one.text);
    }
    return all;
  };
  const std::string first = R"([{"Start":0,"End":1.5,"Speaker":0,"Content":"One {\"1\"}."})";
  EXPECT_EQ(read(first + R"(,{"Start time":"1.5","End time":"3","Speaker ID":"1","Content":"Two."}])"),
            "One {\"1\"}. Two. | 0 1.5 A One {\"1\"}. | 1.5 3 1 Two.");
  EXPECT_EQ(read(first + R"(,{"Start":1.5,"End":3,"Spea)"), "One {\"1\"}. | 0 1.5 A One {\"1\"}.");
  EXPECT_EQ(read(first + R"(,{"Start":7,"End":3,"Content":"Back."},{"Content":4},{]x{}])"),
            "One {\"1\"}. Back. | 0 1.5 A One {\"1\"}. | 7 7  Back.");
  EXPECT_EQ(read("no list"), "no list");
  EXPECT_EQ(read(""), "");
}

}  // namespace
}  // namespace mlxk
