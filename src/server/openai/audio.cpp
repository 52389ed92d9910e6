// POST /v1/audio/transcriptions and /v1/audio/translations
#include <fmt/format.h>

#include <cmath>

#include "server/api_error.h"
#include "server/openai/audio_params.h"
#include "server/openai/documents.h"
#include "server/openai/endpoints.h"
#include "server/openai/transcription.h"
#include "serving/model_pool.h"
#include "speech/languages.h"

namespace mlxk {

namespace {

/// Refuses requests that the model cannot fulfil, before anything is loaded.
void check_model(const ServerContext& context, const AudioParams& params) {
  const ModelInfo info = context.models.describe(params.model);
  if (info.audio_backend == AudioBackend::none) {
    throw ApiError(
        ErrorKind::invalid,
        fmt::format("Model '{}' is not an audio transcription model. Use Whisper or Voxtral models.", info.ref.name),
        "model");
  }
  if (params.options.translate && !info.translates_to_english) {
    throw ApiError(ErrorKind::invalid,
                   fmt::format("Model '{}' does not support speech translation (audio-translate-en).", info.ref.name),
                   "model", "unsupported_value", 422);
  }
}

/// The unit that OpenAI bills: whole seconds.
Json duration_usage(const Transcript& transcript) {
  return {{"type", "duration"}, {"seconds", static_cast<int64_t>(std::ceil(transcript.duration))}};
}

/// The name of the language into which a recording is translated.
std::string written_language(const TranscribeOptions& options) {
  const auto language = find_language(options.to_language);
  return language ? std::string(language_name(*language)) : "english";
}

HttpResponse document_of(const AudioParams& params, const Transcript& transcript) {
  if (params.format == TranscriptFormat::json) {
    Json json = transcript_json(transcript);
    json["usage"] = duration_usage(transcript);
    return json_answer(json);
  }
  if (params.format == TranscriptFormat::verbose_json) {
    Json json = verbose_json(transcript, params.options.translate, params.segments, params.words);
    if (params.options.translate)
      json["language"] = written_language(params.options);  // the text's, as in OpenAI's API
    json["usage"] = duration_usage(transcript);
    return json_answer(json);
  }
  if (params.format == TranscriptFormat::diarized_json) {
    Json json = diarized_json(transcript);
    json["usage"] = duration_usage(transcript);
    return json_answer(json);
  }
  HttpResponse response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = format_transcript(params.format, transcript, params.options.translate);
  return response;
}

std::string event(const Json& document) {
  return event_of(document.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string delta_event(const std::string& text) {
  return text.empty() ? "" : event({{"type", "transcript.text.delta"}, {"delta", text}});
}

/// A segment, sent while the recording is transcribed; with verbose_json and diarized_json its times too.
std::string segment_events(const AudioParams& params, TextSoFar& so_far, const SpeechSegment& segment) {
  const std::string text = so_far.add(segment);
  if (params.format != TranscriptFormat::verbose_json && params.format != TranscriptFormat::diarized_json) {
    return delta_event(text);
  }
  if (text.empty()) return {};
  const Json whole = diarized_segment(segment);  // OpenAI's clients want a speaker, also an unknown one
  return event({{"type", "transcript.text.delta"}, {"delta", text}, {"segment_id", whole["id"]}}) + event(whole);
}

std::string done_event(ServerContext& context, const ServedModel& model, const AudioParams& params,
                       const Transcript& transcript) {
  const AnswerUsage usage = transcript_usage(context, model, params.options, transcript);
  const int64_t sound = sound_tokens(transcript);
  return event({{"type", "transcript.text.done"},
                {"text", transcript_json(transcript)["text"]},
                {"usage",
                 {{"type", "tokens"},
                  {"input_tokens", usage.prompt_tokens},
                  {"input_token_details", {{"audio_tokens", sound}, {"text_tokens", usage.prompt_tokens - sound}}},
                  {"output_tokens", usage.completion_tokens},
                  {"total_tokens", usage.prompt_tokens + usage.completion_tokens}}}}) +
         std::string(kLastEvent);
}

/// An upload that is complete.
struct Upload {
  ApiCall call;
  std::shared_ptr<UploadForm> form;
  AudioParams params;
};

Recording recording_of(const Upload& upload) {
  const std::string& name = *upload.form->filename();
  return {upload.form->file().read(), name.empty() ? "file" : name, "file", upload.params.options,
          upload.params.deadline_ms};
}

std::shared_ptr<const ServedModel> acquire(ServerContext& context, const AudioParams& params) {
  return context.models.acquire(params.model, RequestFacts{.context = Context::server, .has_audio = true});
}

void answer(ServerContext& context, const Upload& upload, EventStream* stream) {
  const auto model = acquire(context, upload.params);
  check_options(context, *model, upload.params.options, upload.params.format);
  TextSoFar so_far;
  TranscriptSink sink;
  if (stream) {
    const auto send = [stream](std::string events) {
      if (!events.empty()) stream->send(std::move(events));
    };
    sink.segment = [&, send](const SpeechSegment& segment) { send(segment_events(upload.params, so_far, segment)); };
    sink.text = [&, send](const std::string& text) { send(delta_event(so_far.add(text))); };
  }
  const Transcript transcript = transcribe_recording(context, upload.call, *model, recording_of(upload), sink);
  if (stream) return stream->finish(done_event(context, *model, upload.params, transcript));
  upload.call.exchange->respond(document_of(upload.params, transcript));
}

void transcribe_upload(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form, bool translate) {
  form->finish();
  AudioParams params = parse_audio(form->fields(), form->filename().has_value(), translate);
  if (form->file().size() == 0) throw ApiError(ErrorKind::invalid, "Empty audio file", "file", "invalid_audio");
  check_model(context, params);
  const auto upload = std::make_shared<const Upload>(Upload{std::move(call), std::move(form), std::move(params)});
  transcribe_async(context, upload->call, upload->params.stream,
                   [&context, upload](EventStream* stream) { answer(context, *upload, stream); });
}

}  // namespace

void transcriptions(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form) {
  transcribe_upload(context, std::move(call), std::move(form), false);
}

void translations(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form) {
  transcribe_upload(context, std::move(call), std::move(form), true);
}

}  // namespace mlxk
