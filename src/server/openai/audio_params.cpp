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

constexpr size_t kMaxText = 64 << 10;

void set_language(const Json& value, const char* field, P& params) {
  params.options.language = value;
  if (!find_language(params.options.language)) {
    refuse_field(field, fmt::format("{} must be known to Whisper, as a code (en) or a name, got {}", field,
                                    shown(params.options.language)));
  }
}

void read_language(const Json& value, P& params) { set_language(value, "language", params); }

void read_languages(const Json& value, P& params) {
  if (value.empty()) return;
  if (value.size() > 1) {
    refuse_field("languages", "languages may name one here: among several nothing is chosen", "unsupported_value");
  }
  set_language(value[0], "languages", params);
}

/// What is said in words that may come is what hotwords are.
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
  const auto refused = [](const char* name, const char* reason, const Json& harmless = Json::array()) {
    return Field<P>{name, Use::refused, unsupported(reason, harmless), reason};
  };
  const auto ignored = [](const char* name, Json schema, const char* text) {
    return Field<P>{name, Use::without_effect, std::move(schema), text};
  };
  const char* beams = "a transcript's own fields are temperature, best_of and beam_size";
  return {
      {"file", Use::honoured, with(text(), {{"format", "binary"}}),
       "The recording: WAV, FLAC, MP3, Ogg, WebM, MP4, M4A or AAC", nullptr, true},
      {"model", Use::honoured, text(1), "A speech model: a cached name, a workspace's name, or what --model pinned",
       [](const Json& v, P& p) { p.model = v; }, true},
      {"language", Use::honoured, text(1, 32), "Code or name of what is spoken; absent: it is detected", read_language},
      {"languages", Use::honoured, array(text(1, 32), 0, 100), "One language, as language", read_languages},
      {"prompt", Use::honoured, text(0, kMaxText), "What was said before, as it were: spelling and style",
       [](const Json& v, P& p) { p.options.initial_prompt = v; }},
      {"hotwords", Use::honoured, text(0, kMaxText), "Names and terms that may come, before every window",
       [](const Json& v, P& p) { p.options.hotwords = v; }},
      {"keywords", Use::honoured, array(text(1, 256), 0, 256), "The same as a list", read_keywords},
      {"response_format", Use::honoured,
       with(one_of({"json", "text", "verbose_json", "srt", "vtt", "tsv", "lrc"}), {{"default", "json"}}),
       "How the transcript is written", [](const Json& v, P& p) { p.format = *find_format(v.get<std::string>()); }},
      {"temperature", Use::honoured, with(number(0, 1), {{"default", 0}}),
       "The first that is tried; higher ones follow where the text repeats itself or is a guess",
       [](const Json& v, P& p) { p.options.temperatures = temperatures_from(v.get<float>()); }},
      {"timestamp_granularities", Use::honoured, array(one_of({"word", "segment"}), 0, 2),
       "What verbose_json has times of; absent: segments", read_granularities},
      {"stream", Use::honoured, with(boolean(), {{"default", false}}),
       "The text as it is heard (SSE); in json, text or verbose_json", [](const Json& v, P& p) { p.stream = v; }},
      {"beam_size", Use::honoured, with(integer(0, 64), {{"default", 0}}), "Beam search; 0 takes the likeliest token",
       [](const Json& v, P& p) { p.options.beam_size = v.get<int>(); }},
      {"best_of", Use::honoured, with(integer(1, 64), {{"default", 1}}), "Texts drawn where the temperature is not 0",
       [](const Json& v, P& p) { p.options.best_of = v.get<int>(); }},
      {"seed", Use::honoured, integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()),
       "The same seed draws the same tokens; absent: a fresh one",
       [](const Json& v, P& p) { p.options.seed = static_cast<uint64_t>(v.get<int64_t>()); }},
      {"clip_timestamps", Use::honoured, text(1, 4096), "Seconds START,END,…: only these parts", read_clip_list},
      {"vad", Use::honoured, with(boolean(), {{"default", false}}), "Leaves out what is no voice before it is decoded",
       [](const Json& v, P& p) { p.options.only_voice = v; }},
      {"chunking_strategy", Use::honoured, chunking_schema(), "The same as vad, by thresholds of our own",
       [](const Json&, P& p) { p.options.only_voice = true; }},
      {"deadline_ms", Use::honoured, integer(1, 86'400'000),
       "Time for the whole answer, from when the recording is there",
       [](const Json& v, P& p) { p.deadline_ms = v.get<int64_t>(); }},
      ignored("user", text(), "An end user of the client's"),
      ignored("stream_include_usage", boolean(), "The last event has the usage"),
      ignored("stream_continuous_usage_stats", boolean(), "The last event has the usage"),
      refused("include", "scores of single tokens are not kept; verbose_json has avg_logprob"),
      refused("known_speaker_names", "speakers are not told apart"),
      refused("known_speaker_references", "speakers are not told apart"),
      refused("to_language", "translations are English"),
      refused("n", "a recording has one transcript", Json::array({1})),
      refused("top_p", beams, Json::array({1})),
      refused("top_k", beams, Json::array({0, -1})),
      refused("min_p", beams, Json::array({0})),
      refused("frequency_penalty", beams, Json::array({0})),
      refused("presence_penalty", beams, Json::array({0})),
      refused("repetition_penalty", beams, Json::array({1})),
      refused("use_beam_search", "use beam_size", Json::array({false})),
      refused("length_penalty", beams, Json::array({1})),
      refused("max_completion_tokens", "a transcript is as long as what is said"),
      refused("vllm_xargs", "there are no extensions"),
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

/// A form's text as what `schema` wants, where it can be read so.
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
    // An object comes key by key: chunking_strategy[type]=server_vad.
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
                       params.format == TranscriptFormat::verbose_json;
  if (params.stream && !streams) {
    refuse_field("stream", "stream needs response_format json, text or verbose_json", "unsupported_value");
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
