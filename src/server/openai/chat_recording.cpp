// POST /v1/chat/completions with a recording: a speech model answers with its transcript.
#include <fmt/format.h>

#include <algorithm>

#include "server/api_error.h"
#include "server/openai/answer_writers.h"
#include "server/openai/fields.h"
#include "server/openai/prepare.h"
#include "server/openai/transcription.h"
#include "serving/admission.h"
#include "serving/model_pool.h"
#include "tokenizer/base64.h"

namespace mlxk {

namespace {

/// Fields that a transcript does not support.
void refuse_what_has_no_meaning(const Json& body) {
  for (const char* name : {"tools", "tool_choice", "response_format", "grammar", "logprobs", "stop", "logit_bias"}) {
    const Json* value = given(body, name);
    if (!value || *value == false || (value->is_structured() && value->empty()) || *value == "none" || *value == "auto")
      continue;
    if (value->is_object() && value->value("type", "") == "text") continue;
    refuse_field(name, fmt::format("{} is not supported: a speech model answers with its transcript", name),
                 "unsupported_value");
  }
  if (const Json* n = given(body, "n"); n && *n != 1) {
    refuse_field("n", "n must be 1: a speech model answers with its transcript", "unsupported_value");
  }
}

/// The recording of the last user message, and its text, which the transcript is to follow.
struct ChatRecording {
  std::string bytes, place, text;
};

ChatRecording find_recording(const Json& messages) {
  ChatRecording found;
  size_t index = messages.size();
  while (index > 0 && messages[index - 1]["role"] != "user") --index;
  const std::string path = fmt::format("messages[{}].content", index == 0 ? 0 : index - 1);
  const Json parts = index == 0 ? Json() : messages[index - 1]["content"];
  int recordings = 0;
  for (size_t i = 0; parts.is_array() && i < parts.size(); ++i) {
    if (parts[i]["type"] == "text") {
      found.text += (found.text.empty() ? "" : " ") + parts[i]["text"].get<std::string>();
    } else if (parts[i]["type"] == "input_audio") {
      ++recordings;
      found.place = fmt::format("{}[{}].input_audio.data", path, i);
      found.bytes = *base64_decode(parts[i]["input_audio"]["data"].get_ref<const std::string&>());
    }
  }
  if (recordings == 0) refuse_field(path, "the last user message has no recording");
  if (recordings > 1) refuse_field(path, fmt::format("Only 1 audio per request. Got: {}", recordings));
  return found;
}

/// A chat that asks for a transcript.
struct Request {
  ApiCall call;
  ChatParams params;
  ChatRecording recording;
  TranscribeOptions options;
};

Recording recording_of(const Request& request) {
  const std::string& bytes = request.recording.bytes;
  return {memory_bytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}), "input_audio",
          request.recording.place, request.options, request.params.deadline_ms};
}

void answer(ServerContext& context, const Request& request, EventStream* stream) {
  const auto model =
      context.models.acquire(request.params.model, RequestFacts{Context::server, !request.params.images.empty(), true});
  const AnswerHead head = new_head(AnswerHead::Kind::chat, request.params.model);
  const auto writer = stream ? make_answer_stream(head, request.params.include_usage) : make_answer_document(head);
  if (stream) writer->open(0);
  TextSoFar so_far;
  TranscriptSink sink;
  sink.segment = [&](const SpeechSegment& segment) {
    AnswerDelta delta;
    delta.content = so_far.add(segment);
    writer->add(0, std::move(delta));
    if (stream) stream->send(writer->take());
  };
  const Transcript transcript = transcribe_recording(context, request.call, *model, recording_of(request), sink);
  writer->close(0, AnswerFinish::stop);
  writer->end(transcript_usage(context, *model, request.options, transcript));
  if (stream) return stream->finish(writer->take());
  HttpResponse response = writer->head();
  response.body = writer->take();
  request.call.exchange->respond(std::move(response));
}

}  // namespace

void transcribe_chat(ServerContext& context, ApiCall call, const Json& body, ChatParams params) {
  // Things that the model cannot do at all are refused first, before anything waits.
  const RequestFacts facts{Context::server, !params.images.empty(), true};
  admit_served(context.models.describe(params.model), Machine{}, facts);
  refuse_what_has_no_meaning(body);
  auto request = std::make_shared<Request>();
  request->recording = find_recording(params.messages);
  request->options.initial_prompt = request->recording.text;
  // A transcript's default temperature is 0.
  if (given(body, "temperature")) request->options.temperatures = temperatures_from(params.sampling.temperature);
  request->options.seed = params.sampling.seed;
  params.messages = nullptr;
  request->params = std::move(params);
  request->call = std::move(call);
  transcribe_async(context, request->call, request->params.stream,
                   [&context, request = std::shared_ptr<const Request>(request)](EventStream* stream) {
                     answer(context, *request, stream);
                   });
}

}  // namespace mlxk
