#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json/json_fwd.h"
#include "speech/transcript.h"

namespace mlxk {

enum class TranscriptFormat { text, json, verbose_json, srt, vtt, tsv, lrc };

/// The format of that name; nullopt: there is none.
std::optional<TranscriptFormat> find_format(std::string_view name);
/// What a file of the format is called behind its dot.
std::string_view format_extension(TranscriptFormat format);

/// What stands before, for, and of the `index`-th (from 0) segment's text in srt, vtt, tsv and lrc; text is a line
/// each.
std::string format_header(TranscriptFormat format);
std::string format_segment(TranscriptFormat format, const SpeechSegment& segment, size_t index);

/// OpenAI's objects: {"text"}, and with task, language's name, duration, segments and words.
Json transcript_json(const Transcript& transcript);
Json verbose_json(const Transcript& transcript, bool translated, bool with_segments, bool with_words);

/// The whole transcript as a document of the format; as text one paragraph.
std::string format_transcript(TranscriptFormat format, const Transcript& transcript, bool translated);

/// "01:02.345", with hours where there are any or `always_hours`.
std::string format_time(double seconds, bool always_hours, char point);

}  // namespace mlxk
