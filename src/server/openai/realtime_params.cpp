#include "server/openai/realtime_params.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "server/api_error.h"
#include "server/openai/fields.h"
#include "server/openai/schema.h"
#include "speech/languages.h"

namespace mlxk {

namespace {

using namespace schema;

constexpr size_t kMaxRealtimeText = 64 << 10;
constexpr int kPcmRate = 24'000, kG711Rate = 8'000;

struct FormatNames {
  RawFormat format;
  const char *name, *older;
};
constexpr std::array kFormats = {FormatNames{RawFormat::s16le, "audio/pcm", "pcm16"},
                                 FormatNames{RawFormat::ulaw, "audio/pcmu", "g711_ulaw"},
                                 FormatNames{RawFormat::alaw, "audio/pcma", "g711_alaw"}};

Json turn_detection_schema() {
  return nullable(object({{"type", one_of({"server_vad"})},
                          {"threshold", number(0, 1)},
                          {"prefix_padding_ms", integer(0, 5'000)},
                          {"silence_duration_ms", integer(100, 10'000)},
                          {"create_response", unsupported("there are no responses", Json::array({false, true}))},
                          {"interrupt_response", unsupported("there are no responses", Json::array({false, true}))},
                          {"idle_timeout_ms", unsupported("there are no responses")}},
                         {"type"}));
}

Json transcription_schema() {
  return nullable(object({{"model", nullable(text(1, 512))},
                          {"language", nullable(text(0, 32))},
                          {"prompt", nullable(text(0, kMaxRealtimeText))},
                          {"keywords", nullable(array(text(1, 256), 0, 256))},
                          {"delay", unsupported("texts come once a turn has ended")},
                          {"languages", unsupported("use language")}}));
}

Json noise_schema() { return unsupported("noise is not reduced"); }
Json include_schema() { return unsupported("scores of single tokens are not available", Json::array({Json::array()})); }

const Json& session_schema() {
  static const Json made =
      object({{"type", one_of({"transcription"})},
              {"audio",
               object({{"input", object({{"format", object({{"type", one_of({"audio/pcm", "audio/pcmu", "audio/pcma"})},
                                                            {"rate", nullable(number(1, 1'000'000))}},
                                                           {"type"})},
                                         {"noise_reduction", noise_schema()},
                                         {"transcription", transcription_schema()},
                                         {"turn_detection", turn_detection_schema()}})}})},
              {"include", include_schema()}},
             {"type"});
  return made;
}

const Json& older_session_schema() {
  static const Json made = object({{"input_audio_format", one_of({"pcm16", "g711_ulaw", "g711_alaw"})},
                                   {"input_audio_noise_reduction", noise_schema()},
                                   {"input_audio_transcription", transcription_schema()},
                                   {"turn_detection", turn_detection_schema()},
                                   {"modalities", nullable(array(one_of({"text", "audio"}), 0, 2))},
                                   {"client_secret", unsupported("connections have the server's keys")},
                                   {"include", include_schema()}});
  return made;
}

void check_session(const Json& schema, const Json& session) {
  const Checked checked = check(schema, session, "session");
  if (checked.violation)
    throw ApiError(ErrorKind::invalid, checked.violation->message, checked.violation->path, checked.violation->code);
  if (!checked.unknown.empty()) {
    const std::string& field = checked.unknown.front();
    refuse_field(field, fmt::format("{} is not a field of a transcription session", shown(field, 80)),
                 "unknown_parameter");
  }
}

void read_transcription(const Json& value, const std::string& path, RealtimeParams& params) {
  if (value.is_null()) {
    params.options = {};
    return;
  }
  if (const Json* model = given(value, "model")) params.model = *model;
  if (value.contains("language")) {
    const std::string language = given(value, "language") ? value["language"].get<std::string>() : "";
    if (!language.empty() && !find_language(language)) {
      refuse_field(
          path + ".language",
          fmt::format("{}.language must be known to Whisper, as a code (en) or a name, got {}", path, shown(language)));
    }
    params.options.language = language;
  }
  if (value.contains("prompt"))
    params.options.initial_prompt = given(value, "prompt") ? value["prompt"].get<std::string>() : "";
  if (value.contains("keywords")) {
    params.options.hotwords.clear();
    const Json* words = given(value, "keywords");
    for (size_t i = 0; words && i < words->size(); ++i)
      params.options.hotwords += (i > 0 ? ", " : "") + (*words)[i].get<std::string>();
  }
}

void read_turn_detection(const Json& value, RealtimeParams& params) {
  if (value.is_null()) {
    params.turns.reset();
    return;
  }
  TurnOptions turns = params.turns.value_or(TurnOptions{});
  turns.threshold = value.value("threshold", turns.threshold);
  turns.prefix_ms = value.value("prefix_padding_ms", turns.prefix_ms);
  turns.silence_ms = value.value("silence_duration_ms", turns.silence_ms);
  params.turns = turns;
}

Json turn_detection_of(const RealtimeParams& params) {
  if (!params.turns) return nullptr;
  return {{"type", "server_vad"},
          {"threshold", params.turns->threshold},
          {"prefix_padding_ms", params.turns->prefix_ms},
          {"silence_duration_ms", params.turns->silence_ms}};
}

Json transcription_of(const RealtimeParams& params) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"model", or_null(params.model)},
          {"language", or_null(params.options.language)},
          {"prompt", params.options.initial_prompt}};
}

const FormatNames& names_of(RawFormat format) {
  for (const auto& one : kFormats) {
    if (one.format == format) return one;
  }
  return kFormats[0];
}

}  // namespace

int realtime_rate(RawFormat format) { return format == RawFormat::s16le ? kPcmRate : kG711Rate; }

void read_realtime_session(const Json& session, RealtimeParams& params) {
  check_session(session_schema(), session);
  const Json* audio = given(session, "audio");
  const Json* input = audio ? given(*audio, "input") : nullptr;
  if (!input) return;
  RealtimeParams changed = params;
  if (const Json* format = given(*input, "format")) {
    for (const auto& one : kFormats) {
      if ((*format)["type"] == one.name) changed.format = one.format;
    }
    const Json* rate = given(*format, "rate");
    if (rate && *rate != realtime_rate(changed.format)) {
      refuse_field("session.audio.input.format.rate",
                   fmt::format("session.audio.input.format.rate must be {} for {}, got {}",
                               realtime_rate(changed.format), names_of(changed.format).name, rate->dump()));
    }
  }
  if (input->contains("transcription"))
    read_transcription((*input)["transcription"], "session.audio.input.transcription", changed);
  if (input->contains("turn_detection")) read_turn_detection((*input)["turn_detection"], changed);
  params = std::move(changed);
}

void read_older_realtime_session(const Json& session, RealtimeParams& params) {
  check_session(older_session_schema(), session);
  RealtimeParams changed = params;
  if (const Json* format = given(session, "input_audio_format")) {
    for (const auto& one : kFormats) {
      if (*format == one.older) changed.format = one.format;
    }
  }
  if (session.contains("input_audio_transcription"))
    read_transcription(session["input_audio_transcription"], "session.input_audio_transcription", changed);
  if (session.contains("turn_detection")) read_turn_detection(session["turn_detection"], changed);
  params = std::move(changed);
}

Json realtime_session(const RealtimeParams& params) {
  Json format = {{"type", names_of(params.format).name}};
  if (params.format == RawFormat::s16le) format["rate"] = kPcmRate;
  return {{"type", "transcription"},
          {"object", "realtime.transcription_session"},
          {"audio",
           {{"input",
             {{"format", format},
              {"transcription", transcription_of(params)},
              {"noise_reduction", nullptr},
              {"turn_detection", turn_detection_of(params)}}}}},
          {"include", nullptr}};
}

Json older_realtime_session(const RealtimeParams& params) {
  return {{"object", "realtime.transcription_session"},
          {"input_audio_format", names_of(params.format).older},
          {"input_audio_transcription", transcription_of(params)},
          {"input_audio_noise_reduction", nullptr},
          {"turn_detection", turn_detection_of(params)},
          {"include", nullptr}};
}

}  // namespace mlxk
