#include "speech/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "speech/languages.h"
#include "speech/stripped.h"

namespace mlxk {

namespace {

struct Row {
  std::string_view name, extension;
};
// In the order of TranscriptFormat.
constexpr Row kFormats[] = {{"text", "txt"}, {"json", "json"}, {"verbose_json", "json"}, {"diarized_json", "json"},
                            {"srt", "srt"},  {"vtt", "vtt"},   {"tsv", "tsv"},           {"lrc", "lrc"}};

constexpr const char* kDoubts[] = {"", "repeats", "guess"};  // in the order of SpeechDoubt

/// The segment's text on one line; without the arrow that separates times in subtitle files.
std::string line_of(const SpeechSegment& segment, bool subtitle) {
  std::string text(stripped(segment.text));
  std::replace(text.begin(), text.end(), '\n', ' ');
  for (size_t at = 0; subtitle && (at = text.find("-->", at)) != std::string::npos;) text.replace(at, 3, "->");
  return text;
}

int64_t milliseconds(double seconds) { return static_cast<int64_t>(std::llround(std::max(seconds, 0.0) * 1000)); }

/// Seconds for display: whole hundredths without the noise of doubles.
double tidy(double seconds) { return std::round(seconds * 1000) / 1000; }

}  // namespace

std::optional<TranscriptFormat> find_format(std::string_view name) {
  for (size_t i = 0; i < std::size(kFormats); ++i) {
    if (kFormats[i].name == name) return static_cast<TranscriptFormat>(i);
  }
  return std::nullopt;
}

std::string_view format_extension(TranscriptFormat format) { return kFormats[static_cast<size_t>(format)].extension; }

std::string format_time(double seconds, bool always_hours, char point) {
  const int64_t all = milliseconds(seconds), hours = all / 3600000;
  const std::string before = always_hours || hours > 0 ? fmt::format("{:02}:", hours) : "";
  return fmt::format("{}{:02}:{:02}{}{:03}", before, all / 60000 % 60, all / 1000 % 60, point, all % 1000);
}

std::string format_header(TranscriptFormat format) {
  if (format == TranscriptFormat::vtt) return "WEBVTT\n\n";
  return format == TranscriptFormat::tsv ? "start\tend\ttext\n" : "";
}

std::string format_segment(TranscriptFormat format, const SpeechSegment& segment, size_t index) {
  switch (format) {
    case TranscriptFormat::srt:
      return fmt::format("{}\n{} --> {}\n{}\n\n", index + 1, format_time(segment.start, true, ','),
                         format_time(segment.end, true, ','), line_of(segment, true));
    case TranscriptFormat::vtt:
      return fmt::format("{} --> {}\n{}\n\n", format_time(segment.start, false, '.'),
                         format_time(segment.end, false, '.'), line_of(segment, true));
    case TranscriptFormat::tsv: {
      std::string text = line_of(segment, false);
      std::replace(text.begin(), text.end(), '\t', ' ');
      return fmt::format("{}\t{}\t{}\n", milliseconds(segment.start), milliseconds(segment.end), text);
    }
    case TranscriptFormat::lrc: {
      const int64_t hundredths = (milliseconds(segment.start) + 5) / 10;
      return fmt::format("[{:02}:{:02}.{:02}]{}\n", hundredths / 6000, hundredths / 100 % 60, hundredths % 100,
                         line_of(segment, false));
    }
    case TranscriptFormat::text:
    case TranscriptFormat::json:
    case TranscriptFormat::verbose_json:
    case TranscriptFormat::diarized_json: break;
  }
  return line_of(segment, false) + "\n";
}

Json transcript_json(const Transcript& transcript) { return {{"text", stripped(transcript.text)}}; }

Json verbose_json(const Transcript& transcript, bool translated, bool with_segments, bool with_words) {
  const auto language = find_language(transcript.language);
  Json json = {{"task", translated ? "translate" : "transcribe"},
               {"language", language ? std::string(language_name(*language)) : transcript.language},
               {"duration", transcript.duration},
               {"text", stripped(transcript.text)}};
  if (with_words) {
    Json words = Json::array();
    for (const auto& segment : transcript.segments) {
      for (const auto& word : segment.words) {
        words.push_back({{"word", stripped(word.word)}, {"start", tidy(word.start)}, {"end", tidy(word.end)}});
      }
    }
    json["words"] = std::move(words);
  }
  if (with_segments) {
    Json segments = Json::array();
    for (const auto& s : transcript.segments) {
      segments.push_back({{"id", s.id},
                          {"seek", s.seek},
                          {"start", tidy(s.start)},
                          {"end", tidy(s.end)},
                          {"text", s.text},
                          {"tokens", s.tokens},
                          {"temperature", s.temperature},
                          {"avg_logprob", s.avg_logprob},
                          {"compression_ratio", s.compression_ratio},
                          {"no_speech_prob", s.no_speech_prob}});
      if (!s.speaker.empty()) segments.back()["speaker"] = s.speaker;
      if (!s.emotion.empty()) segments.back()["emotion"] = s.emotion;
      if (!s.event.empty()) segments.back()["event"] = s.event;
      if (s.doubt != SpeechDoubt::none) segments.back()["doubt"] = kDoubts[static_cast<size_t>(s.doubt)];
    }
    json["segments"] = std::move(segments);
  }
  return json;
}

Json diarized_segment(const SpeechSegment& segment) {
  return {{"type", "transcript.text.segment"},
          {"id", fmt::format("seg_{}", segment.id)},
          {"start", tidy(segment.start)},
          {"end", tidy(segment.end)},
          {"text", segment.text},
          {"speaker", segment.speaker}};
}

Json diarized_json(const Transcript& transcript) {
  Json segments = Json::array();
  for (const auto& segment : transcript.segments) segments.push_back(diarized_segment(segment));
  return {{"task", "transcribe"},
          {"duration", transcript.duration},
          {"text", stripped(transcript.text)},
          {"segments", std::move(segments)}};
}

std::string format_transcript(TranscriptFormat format, const Transcript& transcript, bool translated) {
  const bool words = std::any_of(transcript.segments.begin(), transcript.segments.end(),
                                 [](const auto& s) { return !s.words.empty(); });
  if (format == TranscriptFormat::text) return std::string(stripped(transcript.text)) + "\n";
  if (format == TranscriptFormat::json) return dump_json(transcript_json(transcript));
  if (format == TranscriptFormat::verbose_json) return dump_json(verbose_json(transcript, translated, true, words));
  if (format == TranscriptFormat::diarized_json) return dump_json(diarized_json(transcript));
  std::string all = format_header(format);
  size_t index = 0;
  for (const auto& segment : transcript.segments) {
    if (!segment.text.empty()) all += format_segment(format, segment, index++);
  }
  return all;
}

}  // namespace mlxk
