// A tiny SenseVoice against tools/make_sensevoice_goldens.py: features, scores, tokens, tags, and what it is told.
#include <gtest/gtest.h>

#include "models/audio/frame_net.h"
#include "speech/formats.h"
#include "tiny_recogniser.h"

namespace mlxk {
namespace {

using testing::expect_near;
using testing::golden_sound;
using testing::tokens_of;

class SenseVoice : public testing::RecogniserTest {
 protected:
  void SetUp() override { open("sensevoice", "sensevoice"); }
};

TEST_F(SenseVoice, FeaturesAndScoresAreTheReferences) {
  const auto net = load_speech_net(tiny_->folder());
  const auto& frames = dynamic_cast<const FrameNet&>(*net);
  const auto vocabulary = FrameVocabulary::load(tiny_->folder(), net->shape().vocab_size);
  for (const Json& clip : golden_["clips"]) {
    const auto features = vocabulary->features()(golden_sound(clip["samples"]));
    expect_near(features, clip["features"]);
    const int n = static_cast<int>(features.size()) / net->shape().mels;
    const mx::array encoded = testing::frames_of(*net, features);
    EXPECT_EQ(encoded.shape(1), frames.frames_of(n));
    expect_near(testing::floats_of(encoded), clip["frames"]);
    EXPECT_THROW(net->encode_conditioned(mx::zeros({1, n, net->shape().mels}), {0, 1, 2}), Error);
    EXPECT_THROW(net->encode_conditioned(mx::zeros({1, n, net->shape().mels}), {0, 1, 2, 16}), Error);
    EXPECT_THROW(net->encode(mx::zeros({1, n, 3})), Error);
  }
}

TEST_F(SenseVoice, TokensTimesAndTagsAreTheReferences) {
  constexpr double kFrame = 0.06;
  for (const Json& clip : golden_["clips"]) {
    SCOPED_TRACE(clip["samples"].dump());
    TranscribeOptions options;
    options.word_timestamps = true;
    const Transcript got = tiny_->run(golden_sound(clip["samples"]), options);
    std::vector<int32_t> wanted;
    std::vector<double> starts;
    for (const auto& segment : got.segments) {
      for (const auto& word : segment.words) starts.push_back(word.start);
    }
    for (const Json& token : clip["tokens"]) {
      wanted.push_back(token[0]);
      const std::string piece = golden_["files"]["tokens.json"][token[0].get<size_t>()];
      if (!piece.starts_with("▁") && piece != "好") continue;
      EXPECT_TRUE(std::any_of(starts.begin(), starts.end(), [&](double x) {
        return std::abs(x - token[1].get<int>() * kFrame) < 1e-9;
      })) << token.dump();
    }
    EXPECT_EQ(tokens_of(got), wanted);
    const std::string tag = golden_["files"]["tokens.json"][clip["tags"][0].get<size_t>()];
    EXPECT_EQ("<|" + got.language + "|>", tag);
  }
}

TEST_F(SenseVoice, IsToldTheLanguageAndWhetherToWriteNumbers) {
  for (const Json& clip : golden_["clips"]) {
    for (const Json& told : clip["told"]) {
      TranscribeOptions options;
      options.language = told["language"];
      options.itn = told["itn"];
      EXPECT_EQ(tokens_of(tiny_->run(golden_sound(clip["samples"]), options)),
                told["tokens"].get<std::vector<int32_t>>())
          << told["language"];
    }
  }
  const auto vocabulary = FrameVocabulary::load(tiny_->folder(), 28);
  EXPECT_TRUE(vocabulary->can_be_told("Chinese"));
  EXPECT_FALSE(vocabulary->can_be_told("de"));
  EXPECT_FALSE(vocabulary->can_be_told("klingon"));
}

TEST_F(SenseVoice, SegmentsTellEmotionAndEvent) {
  // The pieces that the model chooses at the frames of emotion and event become tags.
  const Json& tags = golden_["clips"][0]["tags"];
  Json golden = golden_;
  golden["files"]["tokens.json"][tags[1].get<size_t>()] = "<|HAPPY|>";
  golden["files"]["tokens.json"][tags[2].get<size_t>()] = "<|BGM|>";
  open(golden);
  const Transcript got = tiny_->run(golden_sound(golden["clips"][0]["samples"]));
  ASSERT_FALSE(got.segments.empty());
  EXPECT_EQ(got.segments[0].emotion, "happy");
  EXPECT_EQ(got.segments[0].event, "bgm");
  const Json told = verbose_json(got, false, true, false);
  EXPECT_EQ(told["segments"][0]["emotion"], "happy");
  EXPECT_EQ(told["segments"][0]["event"], "bgm");
}

TEST_F(SenseVoice, ALongRecordingIsTranscribedInWindows) {
  const Transcript whole = tiny_->run(golden_sound(16000 * 70 + 77));
  EXPECT_NEAR(whole.duration, 70, 0.01);
  ASSERT_FALSE(whole.segments.empty());
  EXPECT_GT(whole.segments.back().end, 60);
  double last = 0;
  for (const auto& segment : whole.segments) {
    EXPECT_GE(segment.start, last);
    last = segment.start;
  }
  EXPECT_TRUE(tiny_->run(golden_sound(399)).segments.empty());  // shorter than a frame
}

TEST_F(SenseVoice, PackedWeightsGiveWhatTheirNumbersGive) {
  const Json& clip = golden_["clips"][0];
  testing::expect_packed_is_plain(
      golden_,
      [&](const auto& folder) {
        const auto net = load_speech_net(folder);
        const auto vocabulary = FrameVocabulary::load(folder, net->shape().vocab_size);
        return testing::floats_of(testing::frames_of(*net, vocabulary->features()(golden_sound(clip["samples"]))));
      },
      5e-2F);
}

TEST_F(SenseVoice, MissingFilesAreNamed) {
  EXPECT_TRUE(tiny_->probe().healthy);
  std::filesystem::remove(tiny_->folder() / "tokens.json");
  EXPECT_EQ(tiny_->probe().health_reason,
            "Tokenizer missing: chn_jpn_yue_eng_ko_spectok.bpe.model is published in FunAudioLLM/SenseVoiceSmall");
  std::filesystem::remove(tiny_->folder() / "am.mvn");
  EXPECT_EQ(tiny_->probe().health_reason,
            "Features' mean and variance missing: am.mvn is published in FunAudioLLM/SenseVoiceSmall");
}

TEST_F(SenseVoice, IsASpeechModelByItsConfiguration) {
  const ModelInfo info = tiny_->probe();
  EXPECT_EQ(info.kind, "audio");
  EXPECT_TRUE(info.audio.ok) << info.reason;
  EXPECT_EQ(info.load_kind(), ModelKind::speech);
}

TEST(SenseVoiceFiles, BadFilesAreNamedWithTheKey) {
  const auto refused = [](const std::function<void(Json&)>& spoil) {
    Json golden = testing::recogniser_golden("sensevoice", "sensevoice");
    spoil(golden);
    return testing::refusal_of<FrameVocabulary>(golden);
  };
  const auto set = [&](const char* pointer, const Json& value) {
    return refused([&](Json& golden) { golden["config"][Json::json_pointer(pointer)] = value; });
  };
  const std::pair<const char*, Json> cases[] = {{"/encoder_conf/attention_heads", 5},
                                                {"/encoder_conf/normalize_before", false},
                                                {"/encoder_conf/kernel_size", 0},
                                                {"/frontend_conf/fs", 8000},
                                                {"/frontend_conf/window", "povey"},
                                                {"/frontend_conf/lfr_m", 5},
                                                {"/input_size", 113},
                                                {"/encoder_conf/sanm_shfit", 3}};
  for (const auto& [pointer, value] : cases) {
    std::string key = std::string(pointer).substr(std::string(pointer).rfind('/') + 1);
    if (key == "attention_heads") key = "output_size";
    if (key == "lfr_m") key = "input_size";
    EXPECT_NE(set(pointer, value).find(key), std::string::npos) << pointer << ": " << set(pointer, value);
  }
  for (const char* mvn :
       {"", "<AddShift> 112 112\n<LearnRateCoef> 0 [ 1 2 3 ]", "<AddShift> <LearnRateCoef> 0 [ 1 two"}) {
    const std::string message = refused([&](Json& golden) { golden["files"]["am.mvn"] = mvn; });
    EXPECT_NE(message.find("[am.mvn] <AddShift>"), std::string::npos) << message;
  }
  const std::string message = refused([](Json& golden) { golden["files"]["tokens.json"] = {1, 2}; });
  EXPECT_NE(message.find("[tokens.json]"), std::string::npos) << message;
}

}  // namespace
}  // namespace mlxk
