#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json/json_fwd.h"
#include "speech/transcript.h"

namespace mlxk {

enum class TranscriptFormat { text, json, verbose_json, diarized_json, srt, vtt, tsv, lrc };

/// The format of that name; nullopt: unknown.
std::optional<TranscriptFormat> find_format(std::string_view name);
/// The file extension of the format.
std::string_view format_extension(TranscriptFormat format);

/// The text before, for, and of segment `index` (from 0) in srt, vtt, tsv and lrc; as text, a line per segment.
std::string format_header(TranscriptFormat format);
std::string format_segment(TranscriptFormat format, const SpeechSegment& segment, size_t index);

/// OpenAI's objects: {"text"}, and with task, language's name, duration, segments and words.
Json transcript_json(const Transcript& transcript);
Json verbose_json(const Transcript& transcript, bool translated, bool with_segments, bool with_words);

/// OpenAI's object with the speaker of each segment.
Json diarized_json(const Transcript& transcript);
/// A segment of it, as its streams have them too.
Json diarized_segment(const SpeechSegment& segment);

/// The whole transcript as a document of the format; as text one paragraph.
std::string format_transcript(TranscriptFormat format, const Transcript& transcript, bool translated);

/// "01:02.345", with hours if there are any or `always_hours`.
std::string format_time(double seconds, bool always_hours, char point);

}  // namespace mlxk
