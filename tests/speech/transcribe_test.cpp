// Transcripts against openai-whisper's (tools/make_speech_goldens.py), in float32 from the same weights. The folder
// MLXK_TEST_MODELS holds the model; the tests are skipped without it.
#include "speech/transcribe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>

#include "backend/mlx_backend.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "speech/languages.h"
#include "speech/vocabulary.h"
#include "worker/model_handle.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(test_tree::kTestData) / "speech";

/// The samples of one of our clips: 16-bit PCM of 16 kHz after a header of 44 bytes.
std::vector<float> clip(const std::string& name) {
  std::ifstream file(kData / (name + ".wav"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> samples;
  for (size_t i = 44; i + 1 < bytes.size(); i += 2) {
    const auto low = static_cast<uint8_t>(bytes[i]);
    samples.push_back(static_cast<float>(static_cast<int16_t>(low | static_cast<uint8_t>(bytes[i + 1]) << 8)) / 32768);
  }
  return samples;
}

std::vector<float> recording(const std::string& name) {
  if (name != "long") return clip(name);
  std::vector<float> all;
  for (int i = 0; i < 2; ++i) {
    for (const char* part : {"jfk", "universe", "cavern"}) {
      const auto samples = clip(part);
      all.insert(all.end(), samples.begin(), samples.end());
      all.resize(all.size() + 32000);
    }
  }
  return all;
}

class Samples : public SampleSource {
 public:
  explicit Samples(std::vector<float> samples, bool rewinds = true) : samples_(std::move(samples)), rewinds_(rewinds) {}
  size_t read(std::span<float> into) override {
    const size_t count = std::min({into.size(), samples_.size() - at_, size_t{7000}});
    std::copy_n(samples_.begin() + static_cast<int64_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }
  bool rewind() override {
    at_ = 0;
    return rewinds_;
  }

 private:
  std::vector<float> samples_;
  bool rewinds_;
  size_t at_ = 0;
};

class Transcribe : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* models = std::getenv("MLXK_TEST_MODELS");
    const fs::path folder = fs::path(models ? models : "") / "whisper-base-mlx";
    if (!models || !fs::exists(folder)) return;
    worker_ = std::make_unique<Worker>([] { return std::make_unique<MlxBackend>(); });
    model_ = worker_->load(ModelKind::speech, folder);
    vocabulary_ = SpeechVocabulary::load(folder, model_->facts().vocab_size);
    goldens_ = read_json(kData / "goldens.json");
  }
  static void TearDownTestSuite() {
    model_.reset();
    vocabulary_.reset();
    worker_.reset();
  }
  void SetUp() override {
    if (!worker_) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with whisper-base-mlx";
  }

  static SpeechEngine engine() { return {*worker_, model_, vocabulary_}; }
  static TranscribeOptions options(const Json& given) {
    TranscribeOptions options;
    options.temperatures = {0};
    options.language = "en";
    options.translate = given.value("task", "") == "translate";
    options.beam_size = given.value("beam_size", 0);
    options.word_timestamps = given.value("word_timestamps", false);
    options.initial_prompt = given.value("initial_prompt", "");
    options.condition_on_previous_text = given.value("condition_on_previous_text", true);
    options.with_timestamps = !given.value("without_timestamps", false);
    if (given.contains("clip_timestamps")) options.clips = {{2, 6}, {8, 11}};
    return options;
  }

  static inline std::unique_ptr<Worker> worker_;
  static inline std::shared_ptr<const ModelHandle> model_;
  static inline std::shared_ptr<const SpeechVocabulary> vocabulary_;
  static inline Json goldens_;
};

TEST_F(Transcribe, GivesOpenaisTokensTextsAndTimes) {
  for (const std::string name : {"jfk", "universe", "cavern", "long"}) {
    for (const auto& [what, wanted] : goldens_[name].items()) {
      SCOPED_TRACE(name + ", " + what);
      Samples source(recording(name));
      const Transcript got = transcribe(engine(), source, options(wanted["options"]));
      EXPECT_EQ(got.text, wanted["text"].get<std::string>());
      ASSERT_EQ(got.segments.size(), wanted["segments"].size());
      for (size_t i = 0; i < got.segments.size(); ++i) {
        const auto& segment = got.segments[i];
        const Json& other = wanted["segments"][i];
        EXPECT_EQ(segment.tokens, other["tokens"].get<std::vector<int32_t>>());
        EXPECT_NEAR(segment.start, other["start"].get<double>(), 0.021);
        EXPECT_NEAR(segment.end, other["end"].get<double>(), 0.021);
        EXPECT_NEAR(segment.avg_logprob, other["avg_logprob"].get<float>(), 2e-3);
        EXPECT_NEAR(segment.compression_ratio, other["compression_ratio"].get<float>(), 1e-6);
        EXPECT_NEAR(segment.no_speech_prob, other["no_speech_prob"].get<float>(), 2e-3);
        if (!other.contains("words")) continue;
        ASSERT_EQ(segment.words.size(), other["words"].size());
        for (size_t w = 0; w < segment.words.size(); ++w) {
          const Json& word = other["words"][w];
          EXPECT_EQ(segment.words[w].word, word["word"].get<std::string>());
          EXPECT_NEAR(segment.words[w].start, word["start"].get<double>(), 0.021) << segment.words[w].word;
          EXPECT_NEAR(segment.words[w].end, word["end"].get<double>(), 0.021) << segment.words[w].word;
          EXPECT_NEAR(segment.words[w].probability, word["probability"].get<float>(), 5e-3) << segment.words[w].word;
        }
      }
    }
  }
}

TEST_F(Transcribe, HearsWhichLanguageItIs) {
  Samples source(clip("jfk"), false);
  TranscribeOptions options;
  const Transcript got = transcribe(engine(), source, options);
  EXPECT_EQ(got.language, "en");
  EXPECT_GT(got.language_probability, 0.5F);
  EXPECT_NEAR(got.duration, 11.0, 0.01);
}

/// `seconds` of the samples that `wave` returns for each time.
template <class Wave>
std::vector<float> sound(int seconds, const Wave& wave) {
  std::vector<float> samples(static_cast<size_t>(seconds) * 16000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<float>(wave(static_cast<double>(i) / 16000));
  return samples;
}

std::vector<float> noise(int seconds, double level) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  return sound(seconds, [&](double) { return level * normal(random); });
}

double chord(double t) {
  double sum = 0;
  for (const double hertz : {220.0, 277.0, 330.0}) {
    for (int h = 1; h <= 6; ++h) sum += std::sin(2 * M_PI * hertz * h * t) / h;
  }
  return 0.05 * sum * std::exp(-3 * std::fmod(t, 0.5));
}

TEST_F(Transcribe, NothingIsHeardWhereNobodySpeaks) {
  const auto drum = [](double t) { return 0.3 * std::sin(2 * M_PI * 70 * t) * std::exp(-20 * std::fmod(t, 0.25)); };
  for (const auto& [name, samples] : {std::pair("silence", noise(40, 0)),
                                      {"dither", noise(40, 1.5e-5)},
                                      {"hiss", noise(35, 1e-3)},
                                      {"noise", noise(12, 0.1)},
                                      {"hum", sound(12, [](double t) { return 0.1 * std::sin(2 * M_PI * 50 * t); })},
                                      {"chords", sound(35, chord)},
                                      {"drums", sound(12, drum)}}) {
    for (const bool only_voice : {false, true}) {
      Samples source(samples);
      TranscribeOptions options;
      options.only_voice = only_voice;
      EXPECT_EQ(transcribe(engine(), source, options).text, "") << name << only_voice;
    }
  }
}

TEST_F(Transcribe, TextsKeepTheirTimesBetweenLongPauses) {
  const auto spoken = clip("universe");
  std::vector<float> samples = noise(150, 1e-4);
  for (const size_t second : {20, 70, 140}) {
    for (size_t i = 0; i < spoken.size(); ++i) samples[second * 16000 + i] += spoken[i];
  }
  Samples source(samples);
  TranscribeOptions options;
  options.only_voice = true;
  const Transcript got = transcribe(engine(), source, options);
  ASSERT_EQ(got.segments.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const double begin = i == 0 ? 20 : i == 1 ? 70 : 140;
    EXPECT_EQ(got.segments[i].text, " A man said to the universe, Sir, I exist.");
    EXPECT_NEAR(got.segments[i].start, begin, 1.6);
    EXPECT_NEAR(got.segments[i].end, begin + 4.6, 1.6);
  }
  EXPECT_NEAR(got.duration, 150, 0.01);
}

TEST_F(Transcribe, NoTextIsMadeUpBehindTheLastWords) {
  std::vector<float> samples = clip("jfk");
  const auto hiss = noise(60, 1e-3);
  samples.resize(hiss.size());
  for (size_t i = 0; i < hiss.size(); ++i) samples[i] += hiss[i];
  Samples source(samples);
  const Transcript got = transcribe(engine(), source, {});
  EXPECT_LT(got.segments.back().end, 13);
  EXPECT_EQ(got.language, "en");
}

TEST_F(Transcribe, ATelephoneIsUnderstood) {
  std::vector<float> samples = clip("universe");
  for (int pass = 0; pass < 4; ++pass) {  // 300 to 3400 Hz, roughly
    float low = 0, slow = 0;
    for (float& x : samples) {
      low += 0.62F * (x - low);
      slow += 0.03F * (low - slow);
      x = low - slow;
    }
  }
  Samples source(samples);
  EXPECT_EQ(transcribe(engine(), source, {}).text, " A man said to the universe, Sir, I exist.");
}

TEST_F(Transcribe, HotwordsAndACarriedPromptGiveNamesTheirSpelling) {
  for (const bool hotwords : {false, true}) {
    Samples source(recording("long"));
    TranscribeOptions options;
    (hotwords ? options.hotwords : options.initial_prompt) = "Kaliko, Ruggedo";
    options.carry_initial_prompt = !hotwords;
    const std::string text = transcribe(engine(), source, options).text;
    const size_t first = text.find("Kaliko");
    ASSERT_NE(first, std::string::npos) << text;
    EXPECT_NE(text.find("Kaliko", first + 1), std::string::npos) << text;
  }
}

TEST_F(Transcribe, WhatRepeatsItselfIsDecodedAgainAndMarked) {
  Samples source(clip("universe"));
  TranscribeOptions options;
  options.compression_ratio_threshold = 0.1F;  // everything repeats itself
  options.temperatures = {0, 0.2F};
  options.best_of = 2;
  options.seed = 1;
  const Transcript got = transcribe(engine(), source, options);
  ASSERT_FALSE(got.segments.empty());
  for (const auto& segment : got.segments) {
    EXPECT_EQ(segment.temperature, 0.2F);
    EXPECT_EQ(segment.doubt, SpeechDoubt::repeats);
  }
}

TEST_F(Transcribe, ClipsAndOnlyVoiceContradictEachOther) {
  Samples source(clip("universe"));
  TranscribeOptions options;
  options.only_voice = true;
  options.clips = {{1, 2}};
  EXPECT_THROW(transcribe(engine(), source, options), Error);
}

}  // namespace
}  // namespace mlxk
