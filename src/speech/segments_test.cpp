#include "speech/segments.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "speech/alignment.h"
#include "speech/compression.h"
#include "speech/languages.h"
#include "speech/mel_stream.h"
#include "speech/unheard.h"
#include "speech/word_times.h"

namespace mlxk {
namespace {

/// OpenAI's vocabulary, from the rank files built into the program.
const SpeechVocabulary& vocabulary() {
  static const auto whole = SpeechVocabulary::load("/nonexistent", 51865);
  return *whole;
}

std::vector<int32_t> tokens(std::initializer_list<double> items) {  // below 0: -time; else a text token
  std::vector<int32_t> ids;
  for (const double item : items) {
    ids.push_back(item <= 0 ? vocabulary().timestamps() + static_cast<int32_t>(-item * 50 + 0.5)
                            : static_cast<int32_t>(item));
  }
  return ids;
}

TEST(CutWindow, CutsAtPairsAndLeavesTheRestToTheNextWindow) {
  const auto cut = cut_window(vocabulary(), tokens({0, 400, -2, -2, 401, 402, -5, -5, 403}), 3000);
  ASSERT_EQ(cut.segments.size(), 2U);
  EXPECT_DOUBLE_EQ(cut.segments[0].end, 2);
  EXPECT_DOUBLE_EQ(cut.segments[1].start, 2);
  EXPECT_EQ(cut.segments[1].tokens, tokens({-2, 401, 402, -5}));
  EXPECT_EQ(cut.next, 500);
  EXPECT_FALSE(cut.single_ending);
}

TEST(CutWindow, NothingFollowsASingleTimestampAtTheEnd) {
  const auto cut = cut_window(vocabulary(), tokens({0, 400, -2, -2, 401, -4.5}), 1234);
  ASSERT_EQ(cut.segments.size(), 2U);
  EXPECT_DOUBLE_EQ(cut.segments[1].end, 4.5);
  EXPECT_EQ(cut.next, 1234);
}

TEST(CutWindow, WithoutPairsItIsOneSegment) {
  EXPECT_DOUBLE_EQ(cut_window(vocabulary(), tokens({0, 400, -3}), 3000).segments.at(0).end, 3);
  EXPECT_DOUBLE_EQ(cut_window(vocabulary(), tokens({400, 401}), 250).segments.at(0).end, 2.5);
  EXPECT_DOUBLE_EQ(cut_window(vocabulary(), {}, 250).segments.at(0).end, 2.5);
}

TEST(SpeechVocabulary, HasOpenaisIds) {
  const auto& v = vocabulary();
  EXPECT_EQ(v.end(), 50257);
  EXPECT_EQ(v.start_sequence(0, false), (std::vector<int32_t>{50258, 50259, 50359}));
  EXPECT_EQ(v.start_sequence(2, true), (std::vector<int32_t>{50258, 50261, 50358}));
  EXPECT_EQ(v.previous(), 50361);
  EXPECT_EQ(v.no_speech(), 50362);
  EXPECT_EQ(v.timestamps(), 50364);
  const auto english = SpeechVocabulary::load("/nonexistent", 51864),
             newest = SpeechVocabulary::load("/nonexistent", 51866);
  EXPECT_EQ(english->start_sequence(0, false), (std::vector<int32_t>{50257}));
  EXPECT_EQ(english->timestamps(), 50363);
  EXPECT_EQ(newest->languages(), 100);
  EXPECT_EQ(newest->timestamps(), 50365);
  EXPECT_THROW(SpeechVocabulary::load("/nonexistent", 32000), Error);
}

TEST(SpeechVocabulary, SuppressesOpenaisNonSpeech) {
  const Json goldens = read_json(std::filesystem::path(test_tree::kTestData) / "speech" / "goldens.json");
  EXPECT_EQ(vocabulary().non_speech(), goldens["tokens"]["non_speech"].get<std::vector<int32_t>>());
  EXPECT_EQ(SpeechVocabulary::load("/nonexistent", 51864)->non_speech(),
            goldens["tokens"]["non_speech_english"].get<std::vector<int32_t>>());
}

TEST(SpeechVocabulary, SplitsAtSpacesOrAtCharacters) {
  auto ids = vocabulary().encode(" Hello, wörld-wide!");
  ids.push_back(vocabulary().end());
  std::vector<std::string> words;
  for (const auto& word : vocabulary().words(ids, 0)) words.push_back(word.word);
  EXPECT_EQ(words, (std::vector<std::string>{" Hello", ",", " wörld", "-wide", "!", "<|endoftext|>"}));
  ids = vocabulary().encode("今日は𠮷");
  ids.push_back(vocabulary().end());
  std::string all;
  for (const auto& word : vocabulary().words(ids, *find_language("ja"))) all += word.word;
  EXPECT_EQ(all, "今日は𠮷<|endoftext|>");
}

TEST(Languages, HaveCodesNamesAndOtherNames) {
  EXPECT_EQ(find_language("EN"), 0);
  EXPECT_EQ(find_language("German"), 2);
  EXPECT_EQ(find_language("castilian"), find_language("es"));
  EXPECT_EQ(find_language("yue"), 99);
  EXPECT_FALSE(find_language("klingon"));
  EXPECT_EQ(language_name(98), "sundanese");
}

TEST(CheapestPath, FollowsTheValley) {
  const std::vector<float> costs = {0, 0, 9, 9,  //
                                    9, 9, 0, 9,  //
                                    9, 9, 9, 0};
  EXPECT_EQ(cheapest_path(costs, 3, 4), (std::vector<std::pair<int, int>>{{0, 0}, {0, 1}, {1, 2}, {2, 3}}));
}

TEST(MergePunctuation, JoinsItsNeighbours) {
  std::vector<TimedWord> words;
  for (const char* word : {" Say", " \"", "no", ".", "\"", " (", "Now", ")"}) words.push_back({word, {1}, 0, 1, 1});
  merge_punctuation(words, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、");
  std::vector<std::string> left;
  for (const auto& word : words) {
    if (!word.word.empty()) left.push_back(word.word);
  }
  EXPECT_EQ(left, (std::vector<std::string>{" Say", " \"no.\"", " (Now)"}));
}

SpeechSegment said(double start, double end, float probability) {
  SpeechSegment s;
  s.start = start;
  s.end = end;
  s.words = {{" word", start, end, probability}};
  return s;
}

TEST(JudgeWindow, DropsWhatIsDoubtfulBetweenSilences) {
  const DoubtfulWindow window{0, 30, 30, 60, 0, 2};
  const std::vector<SpeechSegment> sure = {said(1, 1.4, 0.9F), said(2, 2.4, 0.9F)};
  const auto kept = judge_window(sure, window);
  EXPECT_EQ(kept.keep, 2U);
  EXPECT_FALSE(kept.seek);
  const std::vector<SpeechSegment> loop = {said(1, 1.4, 0.9F), said(10, 10.05, 0.05F)};
  const auto verdict = judge_window(loop, window);
  EXPECT_EQ(verdict.keep, 1U);
  EXPECT_DOUBLE_EQ(*verdict.seek, 10);
  const std::vector<SpeechSegment> first = {said(10, 10.05, 0.05F)};
  EXPECT_TRUE(judge_window(first, window).skip);
}

TEST(CompressionRatio, IsZlibs) {
  EXPECT_NEAR(compression_ratio("A man said to the universe, Sir, I exist."), 41.0 / 48, 0.03);
  std::string loop;
  for (int i = 0; i < 20; ++i) loop += " Thank you.";
  EXPECT_GT(compression_ratio(loop), 8);
}

/// This many samples of a soft tone, loud in the last second.
class Tone : public SampleSource {
 public:
  Tone(int64_t samples, bool rewinds) : samples_(samples), rewinds_(rewinds) {}
  size_t read(std::span<float> into) override {
    const auto count =
        static_cast<size_t>(std::min<int64_t>({static_cast<int64_t>(into.size()), samples_ - at_, 4096}));
    for (size_t i = 0; i < count; ++i, ++at_) {
      into[i] = (at_ >= samples_ - 16000 ? 0.9F : 0.01F) * static_cast<float>(at_ % 37 - 18) / 18;
    }
    return count;
  }
  bool rewind() override {
    at_ = 0;
    return rewinds_;
  }

 private:
  int64_t samples_, at_ = 0;
  bool rewinds_;
};

TEST(MelStream, TellsWhatThereIsAndPadsWithZeros) {
  Tone tone(16000 * 40 + 80, true);
  MelStream mel(tone, 80, 3000);
  EXPECT_EQ(mel.available(0), 3000);
  EXPECT_EQ(mel.available(2500), 1500);
  EXPECT_EQ(mel.frames(), 4000);
  const auto features = mel.features(2500, 1500);
  ASSERT_EQ(features.size(), 3000U * 80);
  EXPECT_EQ(features[1500 * 80], 0.0F);
  EXPECT_EQ(mel.available(4000), 0);
}

TEST(MelStream, ScalesALongRecordingByThePeakThatIsYetToCome) {
  Tone tone(16000 * 400, true), pipe(16000 * 400, false);
  MelStream file(tone, 80, 3000), live(pipe, 80, 3000);
  ASSERT_EQ(file.available(0), 3000);
  ASSERT_EQ(live.available(0), 3000);
  EXPECT_NE(file.features(0, 3000), live.features(0, 3000));
  ASSERT_EQ(file.available(38000), 2000);
  ASSERT_EQ(live.available(38000), 2000);
  EXPECT_EQ(file.features(38000, 2000), live.features(38000, 2000));
}

TEST(MelStream, LeavesOutWhatIsNoVoiceAndKnowsWhenTheRestWas) {
  Tone tone(16000 * 40, true);
  MelStream mel(tone, 80, 3000, true);
  EXPECT_EQ(mel.available(0), 0);
  EXPECT_EQ(mel.seconds(), 40);
  MelStream all(tone, 80, 3000);
  EXPECT_EQ(all.available(0), 3000);
  EXPECT_EQ(all.time_of(150), 1.5);
}

std::vector<FrameKind> frames(std::initializer_list<std::pair<int, FrameKind>> parts) {
  std::vector<FrameKind> all;
  for (const auto& [count, what] : parts) all.insert(all.end(), static_cast<size_t>(count), what);
  return all;
}

SpeechText said(float no_speech, double logprob) { return {{1}, 2 * logprob, no_speech}; }

TEST(Unheard, AWindowWithoutVoiceCountsOnlyIfTheModelIsSure) {
  const auto nothing = frames({{3000, FrameKind::nothing}}), music = frames({{3000, FrameKind::sound}});
  const auto voice = frames({{2900, FrameKind::nothing}, {100, FrameKind::voice}});
  EXPECT_TRUE(is_invented(said(0.7F, -0.2), nothing));
  EXPECT_TRUE(is_invented(said(0.1F, -0.6), nothing));
  EXPECT_FALSE(is_invented(said(0.1F, -0.2), nothing));
  EXPECT_TRUE(is_invented(said(0.7F, -0.2), music));
  EXPECT_FALSE(is_invented(said(0.5F, -0.8), music));
  EXPECT_FALSE(is_invented(said(0.9F, -2), voice));
  EXPECT_FALSE(is_invented(said(0.9F, -2), {}));
}

SpeechSegment segment(double start, double end) {
  SpeechSegment one;
  one.start = start;
  one.end = end;
  return one;
}

TEST(Unheard, SegmentsInSilenceGoUnlessAVoiceWouldHaveNoText) {
  // The window begins at 60 s; somebody speaks from 70 to 75 s.
  const auto heard = frames({{1000, FrameKind::nothing}, {500, FrameKind::voice}, {1500, FrameKind::nothing}});
  const std::vector<SpeechSegment> segments = {segment(60, 68), segment(69, 75.5), segment(77, 90)};
  EXPECT_EQ(unheard_segments(segments, heard, 6000, 9000), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(unheard_segments(std::span(segments).first(1), heard, 6000, 9000), std::vector<bool>{false});
  EXPECT_EQ(unheard_segments(std::span(segments).first(1), heard, 6000, 6900), std::vector<bool>{true});
}

}  // namespace
}  // namespace mlxk
