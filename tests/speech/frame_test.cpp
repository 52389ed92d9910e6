// Tiny recognisers that decode frame by frame against tools/make_frame_goldens.py: features, the encoder's frames,
// tokens and times.
#include <gtest/gtest.h>

#include "models/audio/frame_net.h"
#include "speech/frame_segments.h"
#include "speech/run_window.h"
#include "tiny_recogniser.h"

namespace mlxk {
namespace {

constexpr double kFrame = 0.08;

using testing::expect_near;
using testing::golden_sound;
using testing::tokens_of;

class FrameGolden : public testing::RecogniserTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { open("frame", GetParam()); }
};

TEST_P(FrameGolden, FeaturesAndFramesAreTheReferences) {
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
  }
}

TEST_P(FrameGolden, TokensAndTimesAreTheReferences) {
  const auto vocabulary = FrameVocabulary::load(tiny_->folder(), tiny_->model()->facts().vocab_size);
  for (const Json& clip : golden_["clips"]) {
    SCOPED_TRACE(clip["samples"].dump());
    TranscribeOptions options;
    options.word_timestamps = true;
    const Transcript got = tiny_->run(golden_sound(clip["samples"]), options);
    EXPECT_DOUBLE_EQ(got.duration, clip["samples"].get<double>() / 16000);
    std::vector<int32_t> wanted;
    std::string text;
    std::vector<double> starts, word_starts;
    for (const auto& segment : got.segments) {
      for (const auto& word : segment.words) starts.push_back(word.start);
      EXPECT_LE(segment.start, segment.end);
    }
    for (const Json& token : clip["tokens"]) {
      wanted.push_back(token[0]);
      const std::string& piece = vocabulary->text_of(wanted.back());
      text += piece;
      if (piece.starts_with(' ')) word_starts.push_back(token[1].get<int>() * kFrame);
    }
    EXPECT_EQ(tokens_of(got), wanted);
    EXPECT_EQ(got.text, text);
    // A word begins with a space, or with a segment.
    for (const double start : word_starts) {
      EXPECT_TRUE(std::any_of(starts.begin(), starts.end(), [&](double x) { return std::abs(x - start) < 1e-9; }))
          << start;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FrameGolden,
                         ::testing::Values("tdt", "tdt_ctc", "rnnt", "ctc", "tdt_local", "ctc_striding", "tdt_8bit",
                                           "tdt_transformers", "ctc_transformers"));

TEST(FrameModels, ALongRecordingIsTranscribedInWindowsOfBoundedLength) {
  testing::TinyRecogniser tiny(testing::recogniser_golden("frame", "tdt"), "long");
  const auto run = [&](const TranscribeOptions& options) { return tiny.run(golden_sound(16000 * 130 + 77), options); };
  const Transcript whole = run({});
  EXPECT_NEAR(whole.duration, 130, 0.01);
  ASSERT_FALSE(whole.segments.empty());
  EXPECT_GT(whole.segments.back().start, 100);
  double last = 0;
  for (const auto& segment : whole.segments) {
    EXPECT_GE(segment.start, last);
    last = segment.start;
  }
  TranscribeOptions options;
  options.clips = {{10, 20}, {100, std::nullopt}};
  const Transcript clips = run(options);
  ASSERT_FALSE(clips.segments.empty());
  for (const auto& segment : clips.segments) {
    EXPECT_TRUE((segment.start >= 10 && segment.end <= 20) || segment.start >= 100) << segment.start;
  }
  TranscribeEvents events;
  int windows = 0;
  events.cancelled = [&] { return ++windows > 1; };
  EXPECT_THROW(tiny.run(golden_sound(16000 * 130), {}, events), Error);
}

/// The tokens of a whole recording, encoded at once.
std::vector<EmittedToken> at_once(const FrameEngine& engine, const std::vector<float>& samples) {
  auto found = std::make_shared<SpeechEmitted>();
  SpeechRequest request;
  request.features = engine.vocabulary->features()(samples);
  request.next = [found](const SpeechAnswer& answer) {
    if (const auto* encoded = std::get_if<SpeechEncoded>(&answer))
      return SpeechTask(SpeechEmit{0, encoded->frames, {}});
    *found = std::get<SpeechEmitted>(answer);
    return SpeechTask(SpeechFinish{});
  };
  run_window(engine.worker, engine.model, std::move(request), {});
  return found->tokens;
}

class FrameSeams : public ::testing::TestWithParam<const char*> {};

// The encoder attends to neighbours only and features are not normalised over the window, so that a frame far from the
// edges has the same scores in every window.
TEST_P(FrameSeams, WindowsGiveTheTextOfTheWhole) {
  Json golden = testing::recogniser_golden("frame", GetParam());
  golden["config"]["preprocessor"]["normalize"] = "NA";
  golden["config"]["encoder"]["self_attention_model"] = "rel_pos_local_attn";
  golden["config"]["encoder"]["att_context_size"] = {3, 2};
  testing::TinyRecogniser tiny(golden, "seams");
  const auto vocabulary = FrameVocabulary::load(tiny.folder(), tiny.model()->facts().vocab_size);
  std::vector<float> samples = golden_sound(3 * 16000 * 120);
  samples.resize(16000 * 116 + 77);  // three windows, without the pause
  std::vector<int32_t> ids, wanted;
  std::vector<int> starts, wanted_starts;  // of words, in frames
  for (const EmittedToken& token : at_once({tiny.worker(), tiny.model(), vocabulary}, samples)) {
    wanted.push_back(token.id);
    if (vocabulary->text_of(token.id).starts_with(' ')) wanted_starts.push_back(token.frame);
  }
  TranscribeOptions options;
  options.word_timestamps = true;
  for (const auto& segment : tiny.run(samples, options).segments) {
    ids.insert(ids.end(), segment.tokens.begin(), segment.tokens.end());
    for (const auto& word : segment.words) {
      if (word.word.starts_with(' ')) starts.push_back(static_cast<int>(std::lround(word.start / kFrame)));
    }
  }
  EXPECT_EQ(ids, wanted);
  EXPECT_EQ(starts, wanted_starts);
  // Enough text on either side of both seams to lose or double.
  for (const int seam : {700, 1350}) {
    const auto near = [&](int low, int high) {
      return std::any_of(starts.begin(), starts.end(), [&](int x) { return x >= low && x < high; });
    };
    EXPECT_TRUE(near(seam - 50, seam)) << seam;
    EXPECT_TRUE(near(seam, seam + 50)) << seam;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, FrameSeams, ::testing::Values("tdt", "ctc"));

TEST(FrameModels, BadConfigurationsNameTheKey) {
  const auto refused = [](const char* pointer, const Json& value) {
    Json golden = testing::recogniser_golden("frame", "tdt");
    golden["config"][Json::json_pointer(pointer)] = value;
    return testing::refusal_of<FrameVocabulary>(golden);
  };
  const auto expect = [&](const char* pointer, const Json& value, const char* words) {
    EXPECT_NE(refused(pointer, value).find(words), std::string::npos) << pointer << ": " << refused(pointer, value);
  };
  expect("/encoder/d_model", 30, "d_model");
  expect("/encoder/subsampling", "vggnet", "subsampling 'vggnet'");
  expect("/encoder/self_attention_model", "abs_pos", "self_attention_model 'abs_pos'");
  expect("/encoder/att_context_size", "wide", "att_context_size");
  expect("/encoder/causal_downsampling", true, "causal_downsampling");
  expect("/joint/vocabulary", Json::array(), "vocabulary");
  expect("/joint/num_extra_outputs", 3, "num_extra_outputs");
  expect("/decoding/durations", Json::array({-1}), "durations");
  expect("/preprocessor/sample_rate", 8000, "sample_rate");
  expect("/preprocessor/n_fft", 500, "n_fft");
  expect("/preprocessor/normalize", "all_features", "normalize");
}

TEST(FrameModels, ANemoConfigurationWithoutModelTypeIsAParakeet) {
  const testing::TinyRecogniser tiny(testing::recogniser_golden("frame", "tdt"), "probe");
  const ModelInfo info = tiny.probe();
  EXPECT_EQ(info.model_type, "parakeet");
  EXPECT_EQ(info.kind, "audio");
  EXPECT_TRUE(info.audio.ok) << info.reason;
  EXPECT_EQ(info.load_kind(), ModelKind::speech);
  EXPECT_FALSE(info.translates_to_english);
}

TEST(FrameSegments, EndWithSentencesAndAtPauses) {
  FrameSegments segments;
  std::vector<SpeechSegment> all;
  const auto add = [&](const char* text, double start) {
    if (auto ended = segments.add({1, text, start, start + 0.1, 1})) all.push_back(*ended);
  };
  add("", 0), add(" It", 0.1), add(" costs", 0.2), add(" 3", 0.4), add(".", 0.5), add("5", 0.6), add(".", 0.7);
  add(" Yes", 0.8), add(" we", 1), add(" do", 4);
  all.push_back(*segments.finish());
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].text, " It costs 3.5.");
  EXPECT_DOUBLE_EQ(all[0].start, 0.1);
  EXPECT_EQ(all[0].words.size(), 3U);
  EXPECT_EQ(all[0].words[2].word, " 3.5.");
  EXPECT_DOUBLE_EQ(all[0].words[2].end, 0.8);
  EXPECT_EQ(all[1].text, " Yes we");
  EXPECT_EQ(all[2].text, " do");
  EXPECT_DOUBLE_EQ(all[2].start, 4);
  EXPECT_FALSE(segments.finish());
}

}  // namespace
}  // namespace mlxk
