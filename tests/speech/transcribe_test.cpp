// Transcripts against openai-whisper's (tools/make_speech_goldens.py), in float32 from the same weights. The folder
// MLXK_TEST_MODELS holds the model; absent: skipped.
#include "speech/transcribe.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "backend/mlx_backend.h"
#include "json/json.h"
#include "speech/languages.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(MLXK_TEST_DATA) / "speech";

/// The samples of one of our clips: 16-bit PCM of 16 kHz behind a header of 44 bytes.
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
    model_ = worker_->load_speech(folder);
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

}  // namespace
}  // namespace mlxk
