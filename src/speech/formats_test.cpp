#include "speech/formats.h"

#include <gtest/gtest.h>

#include "json/json.h"

namespace mlxk {
namespace {

Transcript sample() {
  Transcript t;
  t.language = "en";
  t.duration = 3725.5;
  t.text = " Hello there. Good --> bye.";
  t.segments = {{0,
                 0,
                 0,
                 1.28,
                 " Hello there.",
                 {1, 2},
                 0,
                 -0.2F,
                 1.1F,
                 0.01F,
                 {{" Hello", 0, 0.5, 0.9F}, {" there.", 0.5, 1.28, 0.8F}}},
                {1, 0, 1.3, 1.3, "", {}, 0, -0.2F, 1.1F, 0.01F, {}},
                {2, 0, 3723.456, 3725.5, " Good --> bye.\n", {3}, 0, -0.3F, 1.1F, 0.02F, {}}};
  return t;
}

std::string as(const char* name) { return format_transcript(*find_format(name), sample(), false); }

TEST(TranscriptFormats, SubtitlesHaveOpenaisTimesAndNoForeignArrows) {
  EXPECT_EQ(as("srt"),
            "1\n00:00:00,000 --> 00:00:01,280\nHello there.\n\n2\n01:02:03,456 --> 01:02:05,500\nGood -> bye.\n\n");
  EXPECT_EQ(as("vtt"),
            "WEBVTT\n\n00:00.000 --> 00:01.280\nHello there.\n\n01:02:03.456 --> 01:02:05.500\nGood -> bye.\n\n");
}

TEST(TranscriptFormats, TablesAndLyrics) {
  EXPECT_EQ(as("tsv"), "start\tend\ttext\n0\t1280\tHello there.\n3723456\t3725500\tGood --> bye.\n");
  EXPECT_EQ(as("lrc"), "[00:00.00]Hello there.\n[62:03.46]Good --> bye.\n");
  EXPECT_EQ(as("text"), "Hello there. Good --> bye.\n");
}

TEST(TranscriptFormats, SpeakersAreKept) {
  Transcript transcript = sample();
  EXPECT_FALSE(verbose_json(transcript, false, true, false)["segments"][0].contains("speaker"));
  transcript.segments[0].speaker = "A";
  EXPECT_EQ(verbose_json(transcript, false, true, false)["segments"][0]["speaker"], "A");
  const Json diarized = diarized_json(transcript);
  EXPECT_EQ(diarized["segments"][0], Json({{"type", "transcript.text.segment"},
                                           {"id", "seg_0"},
                                           {"start", 0.0},
                                           {"end", 1.28},
                                           {"text", " Hello there."},
                                           {"speaker", "A"}}));
  EXPECT_EQ(diarized["segments"][2]["speaker"], "");
  EXPECT_EQ(diarized["duration"], 3725.5);
}

TEST(TranscriptFormats, VerboseJsonHasOpenaisFields) {
  const Json json = verbose_json(sample(), true, true, true);
  EXPECT_EQ(json["task"], "translate");
  EXPECT_EQ(json["language"], "english");
  EXPECT_EQ(json["duration"], 3725.5);
  ASSERT_EQ(json["words"].size(), 2U);
  EXPECT_EQ(json["words"][1]["word"], "there.");
  ASSERT_EQ(json["segments"].size(), 3U);
  for (const char* key : {"id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
                          "compression_ratio", "no_speech_prob"}) {
    EXPECT_TRUE(json["segments"][0].contains(key)) << key;
  }
  EXPECT_FALSE(verbose_json(sample(), false, false, false).contains("segments"));
}

TEST(TranscriptFormats, UnknownNamesAreNone) { EXPECT_FALSE(find_format("docx")); }

TEST(TranscriptFormats, VerboseJsonMarksWhatMayBeWrong) {
  Transcript t = sample();
  t.segments[0].doubt = SpeechDoubt::repeats;
  t.segments[2].doubt = SpeechDoubt::guess;
  const Json segments = verbose_json(t, false, true, false)["segments"];
  EXPECT_EQ(segments[0]["doubt"], "repeats");
  EXPECT_FALSE(segments[1].contains("doubt"));
  EXPECT_EQ(segments[2]["doubt"], "guess");
}

}  // namespace
}  // namespace mlxk
