#include "server/openai/audio_params.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "server/openai/body.h"
#include "server/openai/schema.h"
#include "speech/languages.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;
using P = AudioParams;
using F = Field<P>;

constexpr size_t kMaxText = 64 << 10;

std::string known_language(const Json& value, const char* field) {
  std::string language = value;
  if (find_language(language)) return language;
  refuse_field(field,
               fmt::format("{} must be known to Whisper, as a code (en) or a name, got {}", field, shown(language)));
}

void read_language(const Json& value, P& params) { params.options.language = known_language(value, "language"); }

void read_to_language(const Json& value, P& params) {
  translate_to(params.options, known_language(value, "to_language"));
}

void read_languages(const Json& value, P& params) {
  if (value.empty()) return;
  if (value.size() > 1) {
    refuse_field("languages", "languages may name one here: among several nothing is chosen", "unsupported_value");
  }
  params.options.language = known_language(value[0], "languages");
}

/// OpenAI's list of expected words means the same as hotwords.
void read_keywords(const Json& value, P& params) {
  params.options.hotwords = fmt::format("{}", fmt::join(value.get<std::vector<std::string>>(), ", "));
}

void read_granularities(const Json& value, P& params) {
  if (value.empty()) return;
  const auto has = [&](const char* name) { return std::find(value.begin(), value.end(), name) != value.end(); };
  params.segments = has("segment");
  params.words = params.options.word_timestamps = has("word");
}

void read_clip_list(const Json& value, P& params) {
  auto clips = parse_clips(value);
  if (!clips) {
    refuse_field("clip_timestamps",
                 fmt::format("clip_timestamps must be seconds START,END,…, got {}", shown(value.get<std::string>())));
  }
  params.options.clips = std::move(*clips);
}

/// "auto", or OpenAI's voice activity detection, whose numbers are checked and mean nothing here.
Json chunking_schema() {
  return any_of({one_of({"auto"}), object({{"type", one_of({"server_vad"})},
                                           {"prefix_padding_ms", integer(0, 1'000'000)},
                                           {"silence_duration_ms", integer(0, 1'000'000)},
                                           {"threshold", number(0, 1)}},
                                          {"type"})});
}

std::vector<Field<P>> make_fields() {
  const char* beams = "use temperature, best_of and beam_size";
  return {
      {"file", Use::honoured, with(text(), {{"format", "binary"}}),
       "The recording: WAV, FLAC, MP3, Ogg, WebM, MP4, M4A or AAC", nullptr, true},
      {"model", Use::honoured, text(1), "A speech model: a cached name, a workspace's name, or the value of --model",
       [](const Json& v, P& p) { p.model = v; }, true},
      {"language", Use::honoured, text(1, 32), "Code or name of the spoken language; absent: detected", read_language},
      {"languages", Use::honoured, array(text(1, 32), 0, 100), "As language; at most one", read_languages},
      {"to_language", Use::honoured, text(1, 32),
       "Code or name of the text's language, for models that translate into it; absent: the spoken one, in "
       "translations "
       "English",
       read_to_language},
      {"prompt", Use::honoured, text(0, kMaxText), "Text before the recording, as context for spelling and style",
       [](const Json& v, P& p) { p.options.initial_prompt = v; }},
      {"hotwords", Use::honoured, text(0, kMaxText), "Names and terms to expect, as context for every window",
       [](const Json& v, P& p) { p.options.hotwords = v; }},
      {"keywords", Use::honoured, array(text(1, 256), 0, 256), "As hotwords, as a list", read_keywords},
      {"response_format", Use::honoured,
       with(one_of({"json", "text", "verbose_json", "diarized_json", "srt", "vtt", "tsv", "lrc"}),
            {{"default", "json"}}),
       "Format of the transcript", [](const Json& v, P& p) { p.format = *find_format(v.get<std::string>()); }},
      {"temperature", Use::honoured, with(number(0, 1), {{"default", 0}}),
       "First temperature; higher ones follow if the text repeats itself or is uncertain",
       [](const Json& v, P& p) { p.options.temperatures = temperatures_from(v.get<float>()); }},
      {"timestamp_granularities", Use::honoured, array(one_of({"word", "segment"}), 0, 2),
       "Units with times in verbose_json; absent: segments", read_granularities},
      {"stream", Use::honoured, with(boolean(), {{"default", false}}),
       "Streams the text as it is transcribed (SSE); only json, text, verbose_json and diarized_json",
       [](const Json& v, P& p) { p.stream = v; }},
      {"beam_size", Use::honoured, with(integer(0, 64), {{"default", 0}}),
       "Beams of a beam search; 0 picks the likeliest token",
       [](const Json& v, P& p) { p.options.beam_size = v.get<int>(); }},
      {"best_of", Use::honoured, with(integer(1, 64), {{"default", 1}}), "Candidates sampled at temperatures above 0",
       [](const Json& v, P& p) { p.options.best_of = v.get<int>(); }},
      {"seed", Use::honoured, integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()),
       "The same seed samples the same tokens; absent: a random one",
       [](const Json& v, P& p) { p.options.seed = static_cast<uint64_t>(v.get<int64_t>()); }},
      {"clip_timestamps", Use::honoured, text(1, 4096), "Transcribes only these parts, in seconds: START,END,…",
       read_clip_list},
      {"vad", Use::honoured, with(boolean(), {{"default", false}}), "Removes parts without speech before decoding",
       [](const Json& v, P& p) { p.options.only_voice = v; }},
      {"itn", Use::honoured, with(boolean(), {{"default", true}}),
       "Writes numbers and punctuation as usual; false only for models that can leave them out",
       [](const Json& v, P& p) { p.options.itn = v; }},
      {"chunking_strategy", Use::honoured, chunking_schema(), "As vad; the thresholds are the server's",
       [](const Json&, P& p) { p.options.only_voice = true; }},
      {"deadline_ms", Use::honoured, integer(1, 86'400'000),
       "Time limit of the whole answer, from the end of the upload",
       [](const Json& v, P& p) { p.deadline_ms = v.get<int64_t>(); }},
      F::ignored("user", text(), "The client's end user"),
      F::ignored("stream_include_usage", boolean(), "The last event always has the usage"),
      F::ignored("stream_continuous_usage_stats", boolean(), "The last event always has the usage"),
      F::refused("include", "scores of single tokens are not available; verbose_json has avg_logprob"),
      F::refused("known_speaker_names", "speakers are not distinguished"),
      F::refused("known_speaker_references", "speakers are not distinguished"),
      F::refused("n", "a recording has only one transcript", Json::array({1})),
      F::refused("top_p", beams, Json::array({1})),
      F::refused("top_k", beams, Json::array({0, -1})),
      F::refused("min_p", beams, Json::array({0})),
      F::refused("frequency_penalty", beams, Json::array({0})),
      F::refused("presence_penalty", beams, Json::array({0})),
      F::refused("repetition_penalty", beams, Json::array({1})),
      F::refused("use_beam_search", "use beam_size", Json::array({false})),
      F::refused("length_penalty", beams, Json::array({1})),
      F::refused("max_completion_tokens", "the length of a transcript cannot be limited"),
      F::refused("vllm_xargs", "extensions are not supported"),
  };
}

const Field<P>* find_field(const std::string& name) {
  const auto& fields = audio_fields();
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

Json number_or_text(const std::string& text) {
  const Json number = text.size() <= 32 ? Json::parse(text, nullptr, false) : Json();
  return number.is_number() ? number : Json(text);
}

/// A form's text converted to the type that `schema` requires, if possible.
Json typed(const std::string& text, const Json& schema, const std::string& name) {
  if (schema.contains("anyOf") && text.starts_with('{')) return parse_object(text, name);
  const std::string type = schema.value("type", "");
  if (schema.contains("enum") && type.empty() && text.size() <= 32) {
    const Json value = Json::parse(text == "True" ? "true" : text == "False" ? "false" : text, nullptr, false);
    return value.is_discarded() ? Json(text) : value;
  }
  if (type == "boolean" && (text == "true" || text == "True" || text == "1")) return true;
  if (type == "boolean" && (text == "false" || text == "False" || text == "0")) return false;
  return type == "integer" || type == "number" ? number_or_text(text) : Json(text);
}

/// The fields of a form as a JSON object.
Json body_of(const std::vector<std::pair<std::string, std::string>>& fields) {
  Json body = Json::object();
  for (const auto& [given_name, value] : fields) {
    const size_t bracket = given_name.find('[');
    const std::string name = given_name.substr(0, bracket);
    const Field<P>* field = find_field(name);
    if (field && field->schema.value("type", "") == "array") {
      if (!body.contains(name)) body[name] = Json::array();
      body[name].push_back(typed(value, field->schema["items"], name));
      continue;
    }
    if (value.empty()) continue;
    // An object is sent key by key: chunking_strategy[type]=server_vad.
    if (field && bracket != std::string::npos && given_name.ends_with(']') && given_name.size() > bracket + 2) {
      if (!body.contains(name)) body[name] = Json::object();
      if (!body[name].is_object()) refuse_field(name, name + " is given twice");
      body[name][given_name.substr(bracket + 1, given_name.size() - bracket - 2)] = number_or_text(value);
      continue;
    }
    if (field && bracket == std::string::npos && body.contains(name)) refuse_field(name, name + " is given twice");
    body[name] = field ? typed(value, field->schema, name) : Json(value);
  }
  return body;
}

}  // namespace

const std::vector<Field<AudioParams>>& audio_fields() {
  static const auto fields = make_fields();
  return fields;
}

const Json& audio_schema() {
  static const Json schema = [] {
    Json made = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    add_properties(audio_fields(), made);
    return made;
  }();
  return schema;
}

AudioParams parse_audio(const std::vector<std::pair<std::string, std::string>>& fields, bool has_file, bool translate) {
  Json body = body_of(fields);
  if (has_file) body["file"] = "";
  check_body(audio_schema(), body);
  AudioParams params;
  read_fields(audio_fields(), body, params);
  if (given(body, "timestamp_granularities") && params.format != TranscriptFormat::verbose_json) {
    refuse_field("timestamp_granularities", "timestamp_granularities needs response_format verbose_json");
  }
  const bool streams = params.format == TranscriptFormat::json || params.format == TranscriptFormat::text ||
                       params.format == TranscriptFormat::verbose_json ||
                       params.format == TranscriptFormat::diarized_json;
  if (params.stream && !streams) {
    refuse_field("stream", "stream needs response_format json, text, verbose_json or diarized_json",
                 "unsupported_value");
  }
  if (given(body, "keywords") && given(body, "hotwords"))
    refuse_field("keywords", "keywords and hotwords are the same: give one");
  if (params.options.only_voice && !params.options.clips.empty()) {
    refuse_field("clip_timestamps", "clip_timestamps and vad cannot be given together");
  }
  if (translate) translate_to_english(params.options);
  return params;
}

}  // namespace mlxk
