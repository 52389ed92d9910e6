// A tiny SenseVoice against tools/make_sensevoice_goldens.py: features, scores, tokens, tags, and what it is told.
#include <gtest/gtest.h>

#include "backend/mlx_backend.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "mlx/ops.h"
#include "models/audio/frame_net.h"
#include "models/load.h"
#include "probe/model_info.h"
#include "speech/formats.h"
#include "speech/frame_transcribe.h"
#include "tiny_recordings.h"
#include "worker/model_handle.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

using testing::expect_near;
using testing::golden_sound;
using testing::Samples;

Json golden_of() { return read_json(fs::path(test_tree::kTestData) / "sensevoice_models/sensevoice.json"); }

class SenseVoice : public ::testing::Test {
 protected:
  void SetUp() override {
    golden_ = golden_of();
    folder_ = testing::write_recogniser(golden_, "sensevoice");
  }
  void TearDown() override { fs::remove_all(folder_); }

  Transcript run(std::vector<float> samples, const TranscribeOptions& options = {}) {
    if (!model_) model_ = worker_.load(ModelKind::speech, folder_);
    const auto vocabulary = FrameVocabulary::load(folder_, model_->facts().vocab_size);
    Samples source(std::move(samples));
    return transcribe_frames({worker_, model_, vocabulary}, source, options);
  }

  Json golden_;
  fs::path folder_;
  Worker worker_{[] { return std::make_unique<MlxBackend>(); }};
  std::shared_ptr<const ModelHandle> model_;
};

std::vector<int32_t> tokens_of(const Transcript& transcript) {
  std::vector<int32_t> ids;
  for (const auto& segment : transcript.segments) ids.insert(ids.end(), segment.tokens.begin(), segment.tokens.end());
  return ids;
}

TEST_F(SenseVoice, FeaturesAndScoresAreTheReferences) {
  const auto net = load_speech_net(folder_);
  const auto& frames = dynamic_cast<const FrameNet&>(*net);
  const auto vocabulary = FrameVocabulary::load(folder_, net->shape().vocab_size);
  for (const Json& clip : golden_["clips"]) {
    const auto features = vocabulary->features()(golden_sound(clip["samples"]));
    expect_near(features, clip["features"]);
    const int n = static_cast<int>(features.size()) / net->shape().mels;
    mx::array encoded =
        mx::contiguous(frames.encode(mx::array(features.data(), {1, n, net->shape().mels}, mx::float32)).frames);
    encoded.eval();
    EXPECT_EQ(encoded.shape(1), frames.frames_of(n));
    expect_near({encoded.data<float>(), encoded.size()}, clip["frames"]);
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
    const Transcript got = run(golden_sound(clip["samples"]), options);
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
      EXPECT_EQ(tokens_of(run(golden_sound(clip["samples"]), options)), told["tokens"].get<std::vector<int32_t>>())
          << told["language"];
    }
  }
  const auto vocabulary = FrameVocabulary::load(folder_, 28);
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
  fs::remove_all(folder_);
  folder_ = testing::write_recogniser(golden, "sensevoice");
  const Transcript got = run(golden_sound(golden["clips"][0]["samples"]));
  ASSERT_FALSE(got.segments.empty());
  EXPECT_EQ(got.segments[0].emotion, "happy");
  EXPECT_EQ(got.segments[0].event, "bgm");
  const Json told = verbose_json(got, false, true, false);
  EXPECT_EQ(told["segments"][0]["emotion"], "happy");
  EXPECT_EQ(told["segments"][0]["event"], "bgm");
}

TEST_F(SenseVoice, ALongRecordingIsTranscribedInWindows) {
  const Transcript whole = run(golden_sound(16000 * 70 + 77));
  EXPECT_NEAR(whole.duration, 70, 0.01);
  ASSERT_FALSE(whole.segments.empty());
  EXPECT_GT(whole.segments.back().end, 60);
  double last = 0;
  for (const auto& segment : whole.segments) {
    EXPECT_GE(segment.start, last);
    last = segment.start;
  }
  EXPECT_TRUE(run(golden_sound(399)).segments.empty());  // shorter than a frame
}

TEST_F(SenseVoice, IsASpeechModelByItsConfiguration) {
  ModelRef ref;
  ref.name = "SenseVoiceSmall";
  ref.cached = false;
  ref.path = folder_;
  const ModelInfo info = probe_model(ref);
  EXPECT_EQ(info.kind, "audio");
  EXPECT_TRUE(info.audio.ok) << info.reason;
  EXPECT_EQ(info.load_kind(), ModelKind::speech);
}

TEST(SenseVoiceFiles, BadFilesAreNamedWithTheKey) {
  const auto refused = [](const std::function<void(Json&)>& spoil) {
    Json golden = golden_of();
    spoil(golden);
    const fs::path folder = testing::write_recogniser(golden, "sensevoice_bad");
    std::string message;
    try {
      const auto net = load_speech_net(folder);
      FrameVocabulary::load(folder, net->shape().vocab_size);
    } catch (const Error& error) {
      message = error.what();
    }
    fs::remove_all(folder);
    return message;
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
