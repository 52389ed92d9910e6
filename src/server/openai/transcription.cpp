#include "server/openai/transcription.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/elapsed.h"
#include "base/log.h"
#include "media/audio.h"
#include "server/api_error.h"
#include "server/metrics.h"
#include "server/openai/fields.h"
#include "server/task_pool.h"
#include "serving/recognizer.h"

namespace mlxk {

namespace {
using Clock = std::chrono::steady_clock;
constexpr double kTokensASecond = 50;
constexpr double kRetryAfter = 5;

/// A recording from a client: its errors are the request's fault.
class ClientSound : public SampleSource {
 public:
  ClientSound(Recording& recording, uint64_t limit) : param_(recording.param) {
    blame([&] { source_ = std::make_unique<AudioSource>(std::move(recording.bytes), recording.name, limit); });
  }
  size_t read(std::span<float> into) override {
    size_t count = 0;
    blame([&] { count = source_->read(into); });
    return count;
  }
  bool use_rate(int rate) override { return source_->use_rate(rate); }
  bool rewind() override {
    bool done = false;
    blame([&] { done = source_->rewind(); });
    return done;
  }

 private:
  template <class Work>
  void blame(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::unsupported)
        throw ApiError(error.kind(), error.what(), param_, "unsupported_codec", 415);
      throw ApiError(error.kind(), error.what(), param_, "invalid_audio");
    }
  }

  std::string param_;
  std::unique_ptr<AudioSource> source_;
};

}  // namespace

Transcript transcribe_recording(ServerContext& context, const ApiCall& call, const ServedModel& model,
                                Recording recording, const TranscriptSink& sink) {
  const auto start = Clock::now();
  std::optional<Clock::time_point> deadline;
  if (recording.deadline_ms) deadline = call.arrived + std::chrono::milliseconds(*recording.deadline_ms);
  const auto is_late = [&] { return deadline && Clock::now() >= *deadline; };
  const auto late = [] {
    return ApiError(ErrorKind::deadline, "deadline_ms passed before the recording was heard", "deadline_ms");
  };
  if (is_late()) throw late();
  ClientSound sound(recording, context.audio_limit);
  TranscribeEvents events;
  events.segment = sink.segment;
  events.text = sink.text;
  events.cancelled = [&] { return call.exchange->closed() || is_late(); };
  events.cache_scope = call.key_id;
  Transcript transcript;
  try {
    transcript = recognizer_of(context.worker, model)->transcribe(sound, recording.options, events);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled && is_late()) throw late();
    if (error.kind() == ErrorKind::unavailable && !context.draining) {  // the engine's line is full
      ApiError full(error.kind(), error.what(), "", "queue_full", 429);
      full.retry_after_s = kRetryAfter;
      throw full;
    }
    // An error of the recording for this model, such as its length.
    if (error.kind() == ErrorKind::invalid && !dynamic_cast<const ApiError*>(&error)) {
      throw ApiError(error.kind(), error.what(), recording.param, "invalid_audio");
    }
    throw;
  }
  const double took = seconds_since(start);
  context.metrics.count_recording(transcript.duration, took);
  log::info("transcript", {{"request_id", call.exchange->request_id()},
                           {"model", model.info().ref.name},
                           {"language", transcript.language},
                           {"audio", transcript.duration},
                           {"segments", static_cast<int64_t>(transcript.segments.size())},
                           {"queued", std::chrono::duration<double>(start - call.arrived).count()},
                           {"seconds", took},
                           {"real_time_factor", took / std::max(transcript.duration, 1e-3)}});
  return transcript;
}

void transcribe_async(ServerContext& context, const ApiCall& call, bool streams,
                      std::function<void(EventStream* stream)> work) {
  const auto stream = streams ? std::make_shared<EventStream>(call.exchange) : nullptr;
  context.post_transcription([exchange = call.exchange, style = call.error_style, stream, work = std::move(work)] {
    if (exchange->closed()) return;
    answer_errors(
        *exchange,
        [&] {
          try {
            work(stream.get());
          } catch (const std::exception& error) {
            if (!stream) throw;
            stream->fail(error_response(error, exchange->request_id(), style));
          }
        },
        style);
  });
  if (stream) stream->keep_alive(context.ticker);
}

int64_t sound_tokens(const Transcript& transcript) {
  if (transcript.tokens) return transcript.tokens->audio;
  return static_cast<int64_t>(std::ceil(transcript.duration * kTokensASecond));
}

void check_options(ServerContext& context, const ServedModel& model, const TranscribeOptions& options,
                   TranscriptFormat format) {
  const auto refused = refused_option(*recognizer_of(context.worker, model), options, format);
  if (!refused) return;
  refuse_field(refused->field,
               fmt::format("{} is not supported by '{}': {}", refused->field, model.info().ref.name, refused->why),
               "unsupported_value");
}

AnswerUsage transcript_usage(ServerContext& context, const ServedModel& model, const TranscribeOptions& options,
                             const Transcript& transcript) {
  AnswerUsage usage;
  if (transcript.tokens) {
    usage.prompt_tokens = transcript.tokens->audio + transcript.tokens->text;
    usage.audio_tokens = transcript.tokens->audio;
    usage.completion_tokens = transcript.tokens->written;
    return usage;
  }
  const auto recognizer = recognizer_of(context.worker, model);
  usage.prompt_tokens = sound_tokens(transcript);
  for (const std::string* text : {&options.initial_prompt, &options.hotwords}) {
    if (!text->empty()) usage.prompt_tokens += recognizer->count_tokens(*text);
  }
  for (const SpeechSegment& segment : transcript.segments) {
    usage.completion_tokens += static_cast<int64_t>(segment.tokens.size());
  }
  return usage;
}

std::string TextSoFar::add(const SpeechSegment& segment) {
  const std::string open = std::exchange(open_, {});
  if (!segment.text.starts_with(open)) return {};
  std::string text = add(segment.text.substr(open.size()));
  open_.clear();
  return text;
}

std::string TextSoFar::add(const std::string& more) {
  std::string text = more;
  open_ += more;
  if (!begun_) text.erase(0, std::min(text.find_first_not_of(" \t\n\r\f\v"), text.size()));
  begun_ = begun_ || !text.empty();
  return text;
}

}  // namespace mlxk
