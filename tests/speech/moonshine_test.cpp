// Tiny Moonshines against tools/make_moonshine_goldens.py: the encoder's frames, the decoder's logits, the text; and
// how a long recording is cut.
#include <gtest/gtest.h>

#include "speech/moonshine_vocabulary.h"
#include "tiny_recogniser.h"

namespace mlxk {
namespace {

using testing::expect_near;
using testing::floats_of;
using testing::golden_sound;
using testing::greedy;
using testing::logits_of;
using testing::tokens_of;

class MoonshineGolden : public testing::RecogniserTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { open("moonshine", GetParam()); }
};

// On the CPU the decoder reads the encoder's output in float16, and the errors of all tokens add up.
constexpr float kLogitTolerance = 1e-2F;

TEST_P(MoonshineGolden, FramesAndLogitsAreTheReferences) {
  const auto net = load_speech_net(tiny_->folder());
  for (const Json& clip : golden_["clips"]) {
    const mx::array frames = testing::frames_of(*net, golden_sound(clip["samples"]));
    expect_near(floats_of(frames), clip["frames"]);
    expect_near(logits_of(dynamic_cast<const Seq2SeqNet&>(*net), frames, clip["ids"].get<std::vector<int32_t>>()),
                clip["logits"], kLogitTolerance);
  }
}

TEST_P(MoonshineGolden, TheTextIsTheReferences) {
  for (const Json& clip : golden_["clips"]) {
    SCOPED_TRACE(clip["samples"].dump());
    const Transcript got = tiny_->run(golden_sound(clip["samples"]), greedy());
    EXPECT_DOUBLE_EQ(got.duration, clip["samples"].get<double>() / 16000);
    ASSERT_EQ(got.segments.size(), 1U);
    const auto wanted = clip["tokens"].get<std::vector<int32_t>>();
    const size_t most = static_cast<size_t>(std::ceil(13 * got.duration));  // as in English twice over
    const std::vector<int32_t> begun(wanted.begin(),
                                     wanted.begin() + static_cast<int64_t>(std::min(most, wanted.size())));
    EXPECT_EQ(tokens_of(got), begun);
    EXPECT_DOUBLE_EQ(got.segments[0].end, got.duration);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MoonshineGolden, ::testing::Values("moonshine", "untied"));

class Moonshine : public testing::RecogniserTest {
 protected:
  void SetUp() override { open("moonshine", "moonshine"); }
};

TEST_F(Moonshine, PackedWeightsGiveWhatTheirNumbersGive) {
  const Json& clip = golden_["clips"][0];
  testing::expect_packed_is_plain(
      golden_,
      [&](const auto& folder) {
        const auto net = load_speech_net(folder);
        const mx::array frames = testing::frames_of(*net, golden_sound(clip["samples"]));
        return logits_of(dynamic_cast<const Seq2SeqNet&>(*net), frames, clip["ids"].get<std::vector<int32_t>>());
      },
      5e-2F);
}

TEST_F(Moonshine, ALongRecordingIsCutWhereItIsQuietest) {
  std::vector<float> samples = golden_sound(3 * 16000 * 24);
  samples.resize(size_t{16000} * 24);  // before its pause
  std::fill(samples.begin() + 16000 * 22, samples.begin() + 16000 * 22 + 3200, 0.0F);
  samples.insert(samples.end(), samples.begin(), samples.begin() + 16000 * 21);
  const Transcript got = tiny_->run(samples, greedy());
  ASSERT_EQ(got.segments.size(), 2U);
  EXPECT_EQ(got.segments[0].start, 0);
  EXPECT_NEAR(got.segments[0].end, 22.1, 0.06);
  EXPECT_EQ(got.segments[1].start, got.segments[0].end);
  EXPECT_EQ(got.segments[1].end, 45);
  TranscribeOptions options = greedy();
  options.clips = {{30, std::nullopt}};
  const Transcript clip = tiny_->run(samples, options);
  ASSERT_EQ(clip.segments.size(), 1U);
  EXPECT_EQ(clip.segments[0].start, 30);
}

TEST_F(Moonshine, SilenceAndAMomentHaveNoText) {
  for (const std::vector<float>& samples : {std::vector<float>(32000), golden_sound(894)}) {
    const Transcript got = tiny_->run(samples, greedy());
    EXPECT_EQ(got.text, "");
    EXPECT_TRUE(got.segments.empty());
  }
  TranscribeEvents events;
  events.cancelled = [] { return true; };
  EXPECT_THROW(tiny_->run(golden_sound(32000), greedy(), events), Error);
}

TEST_F(Moonshine, IsASpeechModelByItsConfiguration) {
  const ModelInfo info = tiny_->probe();
  EXPECT_EQ(info.kind, "audio");
  EXPECT_TRUE(info.audio.ok) << info.reason;
  EXPECT_EQ(info.load_kind(), ModelKind::speech);
}

TEST(MoonshineFiles, BadConfigurationsNameTheKey) {
  const auto refused = [](const char* key, const Json& value) {
    Json golden = testing::recogniser_golden("moonshine", "moonshine");
    golden["config"][key] = value;
    return testing::refusal_of<MoonshineVocabulary>(golden);
  };
  const std::pair<const char*, Json> cases[] = {{"hidden_size", 33},
                                                {"encoder_num_key_value_heads", 1},
                                                {"decoder_hidden_act", "wavy"},
                                                {"max_position_embeddings", 0},
                                                {"decoder_start_token_id", 500},
                                                {"eos_token_id", "end"}};
  for (const auto& [key, value] : cases) {
    const std::string what = std::string(key) == "decoder_hidden_act" ? "wavy" : key;
    EXPECT_NE(refused(key, value).find(what), std::string::npos) << key << ": " << refused(key, value);
  }
}

TEST(QuietestMoment, IsTheMiddleOfTheQuietestTenth) {
  std::vector<float> samples(48000, 0.5F);
  std::fill(samples.begin() + 5000, samples.begin() + 8000, 0.0F);  // before `from`
  std::fill(samples.begin() + 30000, samples.begin() + 31600, 0.1F);
  EXPECT_NEAR(static_cast<double>(quietest_moment(samples, 16000)), 30800, 2);
  EXPECT_EQ(quietest_moment(std::span(samples).first(16100), 16000), 16100U);  // less than a tenth
}

}  // namespace
}  // namespace mlxk
