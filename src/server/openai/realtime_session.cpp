#include "server/openai/realtime_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/elapsed.h"
#include "base/log.h"
#include "media/span_source.h"
#include "server/metrics.h"
#include "server/openai/fields.h"
#include "server/openai/schema.h"
#include "server/openai/transcription.h"
#include "serving/model_pool.h"
#include "serving/recognizer.h"
#include "tokenizer/base64.h"

namespace mlxk {

namespace {

constexpr size_t kMaxWaitingBytes = 32 << 20;  // of messages
constexpr size_t kLargeMessage = 1 << 20;
constexpr size_t kHeardAtOnce = 5 * kSpeechRate;  // samples
constexpr size_t kKeptBefore = 15 * kSpeechRate;  // samples before a turn that may belong to it
constexpr size_t kMinCommit = kSpeechRate / 10;   // OpenAI's
constexpr int64_t kSamplesAMs = kSpeechRate / 1000;
constexpr int64_t kSessionSeconds = 3600;
constexpr size_t kBytesASample = 2;

/// The fields of an error event.
Json error_of(const std::exception& error) {
  const Json document = parse_json(error_response(error, "").body, "an error");
  const Json& told = document["error"];
  return {{"type", told["type"]}, {"code", told["code"]}, {"message", told["message"]}, {"param", told["param"]}};
}

int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json usage_of(ServerContext& context, const ServedModel& model, const TranscribeOptions& options,
              const Transcript& transcript) {
  if (!transcript.tokens) return {{"type", "duration"}, {"seconds", transcript.duration}};
  const AnswerUsage usage = transcript_usage(context, model, options, transcript);
  return {{"type", "tokens"},
          {"input_tokens", usage.prompt_tokens},
          {"input_token_details",
           {{"audio_tokens", usage.audio_tokens}, {"text_tokens", usage.prompt_tokens - usage.audio_tokens}}},
          {"output_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

}  // namespace

RealtimeSession::RealtimeSession(ServerContext& context, ApiCall call, std::string model, bool older)
    : context_(context),
      call_(std::move(call)),
      id_(call_.exchange->request_id()),
      expires_at_(now_s() + kSessionSeconds),
      most_samples_(context.audio_limit / kBytesASample),
      older_(older) {
  params_.model = std::move(model);
  ++context_.realtime_sessions;
}

RealtimeSession::~RealtimeSession() { --context_.realtime_sessions; }

void RealtimeSession::start() { send_session("created"); }

void RealtimeSession::take(std::string message) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  if (message_bytes_ + message.size() > kMaxWaitingBytes) {
    finished_ = true;
    call_.exchange->send(
        R"({"type":"error","event_id":"event_last","error":{"type":"rate_limit_error","code":"queue_full",)"
        R"("message":"Messages come faster than they are worked off.","param":null,"event_id":null}})");
    return call_.exchange->finish();
  }
  message_bytes_ += message.size();
  messages_.push_back(std::move(message));
  work_later_locked();
}

void RealtimeSession::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
  work_later_locked();
}

void RealtimeSession::work_later_locked() {
  if (std::exchange(working_, true)) return;
  TaskTurn turn = call_.turn;
  turn.large = !messages_.empty() && messages_.front().size() > kLargeMessage;
  context_.preparation.run([self = shared_from_this()] { self->work(); }, std::move(turn));
}

/// A task of a preparation thread: a few seconds of sound, or a message.
void RealtimeSession::work() {
  bool more = false;
  try {
    more = work_on();
  } catch (const std::exception& error) {
    fail(error, nullptr);
  }
  const std::lock_guard lock(mutex_);
  working_ = false;
  if (finished_ || call_.exchange->closed()) return;
  if (more || !messages_.empty() || (draining_ && !flushed_))
    work_later_locked();
  else
    finish_if_drained_locked();
}

/// Processes the next seconds of sound, or the next message if there are none; returns whether sound is left.
bool RealtimeSession::work_on() {
  if (heard_ < arrived_.size()) {
    const size_t count = std::min(kHeardAtOnce, arrived_.size() - heard_);
    heard_ += count;
    hear(std::span(arrived_).subspan(heard_ - count, count));
    if (heard_ == arrived_.size()) {
      arrived_.clear();
      heard_ = 0;
    }
    return heard_ < arrived_.size();
  }
  std::string message;
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    last = messages_.empty();
    if (!last) {
      message = std::move(messages_.front());
      messages_.pop_front();
      message_bytes_ -= message.size();
    }
  }
  if (last) {  // the server drains: the turn in progress is the last
    if (detector_.speaks()) commit(buffer_begin_ + static_cast<int64_t>(buffer_.size()));
    const std::lock_guard lock(mutex_);
    flushed_ = draining_;
    return false;
  }
  handle(message);
  return heard_ < arrived_.size();
}

void RealtimeSession::handle(const std::string& message) {
  Json id;
  try {
    Json event;
    try {
      event = parse_json(message, "the event");
    } catch (const Error& error) {
      throw ApiError(ErrorKind::invalid, error.what(), "", "invalid_json");
    }
    if (!event.is_object()) throw ApiError(ErrorKind::invalid, "an event must be a JSON object", "", "invalid_json");
    if (event.contains("event_id") && event["event_id"].is_string()) id = event["event_id"];
    if (!event.contains("type") || !event["type"].is_string()) refuse_field("type", "type must be the event's name");
    const auto& type = event["type"].get_ref<const std::string&>();
    if (type == "input_audio_buffer.append") return append(event);
    if (type == "session.update") return update(event, false);
    if (type == "transcription_session.update") return update(event, true);
    if (type == "input_audio_buffer.clear") return clear();
    if (type == "input_audio_buffer.commit") {
      hear_rest();
      if (buffer_.size() < kMinCommit) {
        throw ApiError(ErrorKind::invalid,
                       fmt::format("Error committing input audio buffer: buffer too small. Expected at least 100ms of "
                                   "audio, but buffer only has {:.2f}ms of audio.",
                                   static_cast<double>(buffer_.size()) / kSamplesAMs),
                       "", "input_audio_buffer_commit_empty");
      }
      commit(buffer_begin_ + static_cast<int64_t>(buffer_.size()));
      return detector_.restart();
    }
    refuse_field("type", fmt::format("type must be session.update, transcription_session.update or "
                                     "input_audio_buffer.append, .commit or .clear, got {}",
                                     schema::shown(type, 80)));
  } catch (const std::exception& error) {
    fail(error, id);
  }
}

void RealtimeSession::update(const Json& event, bool older) {
  if (!event.contains("session") || !event["session"].is_object()) refuse_field("session", "session must be an object");
  RealtimeParams changed = params_;
  if (older)
    read_older_realtime_session(event["session"], changed);
  else
    read_realtime_session(event["session"], changed);
  if (changed.model != params_.model) {
    const char* field = older ? "session.input_audio_transcription.model" : "session.audio.input.transcription.model";
    try {
      if (context_.models.describe(changed.model).audio_backend == AudioBackend::none) {
        refuse_field(field, fmt::format("{} must be a speech model, got {}", field, schema::shown(changed.model, 80)));
      }
    } catch (const ApiError&) {
      throw;
    } catch (const Error& error) {
      throw ApiError(error.kind(), error.what(), field, "model_not_found");
    }
  }
  if (changed.format != params_.format) {
    hear_rest();
    sound_.reset();
  }
  if (!changed.turns) detector_.restart();
  if (changed.turns && !params_.turns) {  // the sound since it was off was not heard
    detector_ = TurnDetector();
    detector_begin_ = buffer_begin_ + static_cast<int64_t>(buffer_.size());
  }
  if (changed.turns) detector_.set_options(*changed.turns);
  params_ = std::move(changed);
  older_ = older;
  send_session("updated");
}

void RealtimeSession::append(const Json& event) {
  if (!event.contains("audio") || !event["audio"].is_string()) refuse_field("audio", "audio must be sound in base64");
  const auto& text = event["audio"].get_ref<const std::string&>();
  const auto bytes = base64_decode(text);
  if (!bytes) refuse_field("audio", fmt::format("audio must be sound in base64, got {}", schema::shown(text)));
  if (!params_.turns && buffer_.size() > most_samples_) {
    refuse_field(
        "audio",
        fmt::format("the buffer holds {} s of sound already: commit or clear it", buffer_.size() / kSpeechRate),
        "input_audio_buffer_full");
  }
  if (!sound_) sound_.emplace(params_.format, realtime_rate(params_.format));
  sound_->push(*bytes, arrived_);
}

/// Passes the end of the sound, which the resampler still holds, to the turn detector.
void RealtimeSession::hear_rest() {
  std::vector<float> rest;
  if (sound_) sound_->finish(rest);
  hear(rest);
}

void RealtimeSession::hear(std::span<const float> samples) {
  buffer_.insert(buffer_.end(), samples.begin(), samples.end());
  if (!params_.turns) return;
  detector_.take(samples, [this](const TurnChange& change) {
    const int64_t at = detector_begin_ + change.at;
    if (change.begins) {
      const auto before = std::clamp<int64_t>(at - buffer_begin_, 0, static_cast<int64_t>(buffer_.size()));
      buffer_.erase(buffer_.begin(), buffer_.begin() + before);
      buffer_begin_ += before;
      item_id_ = new_item_id();
      send("input_audio_buffer.speech_started",
           {{"audio_start_ms", buffer_begin_ / kSamplesAMs}, {"item_id", item_id_}});
    } else {
      send("input_audio_buffer.speech_stopped", {{"audio_end_ms", at / kSamplesAMs}, {"item_id", item_id_}});
      commit(at);
    }
  });
  if (detector_.speaks() && buffer_.size() > most_samples_) {
    commit(buffer_begin_ + static_cast<int64_t>(buffer_.size()));
    detector_.restart();
  }
  if (!detector_.speaks() && buffer_.size() > 2 * kKeptBefore) {
    const size_t before = buffer_.size() - kKeptBefore;
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<int64_t>(before));
    buffer_begin_ += static_cast<int64_t>(before);
  }
}

/// The buffer up to the sample `until` becomes an item.
void RealtimeSession::commit(int64_t until) {
  const auto count = std::clamp<int64_t>(until - buffer_begin_, 0, static_cast<int64_t>(buffer_.size()));
  Item item{item_id_.empty() ? new_item_id() : std::exchange(item_id_, {}), {}, params_};
  item.samples.assign(buffer_.begin(), buffer_.begin() + count);
  buffer_.erase(buffer_.begin(), buffer_.begin() + count);
  buffer_begin_ += count;
  const Json previous = previous_id_.empty() ? Json() : Json(previous_id_);
  previous_id_ = item.id;
  send("input_audio_buffer.committed", {{"previous_item_id", previous}, {"item_id", item.id}});
  const Json message = {{"id", item.id},     {"object", "realtime.item"},
                        {"type", "message"}, {"status", "completed"},
                        {"role", "user"},    {"content", {{{"type", "input_audio"}, {"transcript", nullptr}}}}};
  const Json announced = {{"previous_item_id", previous}, {"item", message}};
  if (older_) {
    send("conversation.item.created", announced);
  } else {
    send("conversation.item.added", announced);
    send("conversation.item.done", announced);
  }
  const std::lock_guard lock(mutex_);
  item_samples_ += item.samples.size();
  items_.push_back(std::move(item));
  transcribe_later_locked();
}

void RealtimeSession::clear() {
  std::vector<float> rest;
  if (sound_) sound_->finish(rest);
  buffer_begin_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
  item_id_.clear();
  detector_.restart();
  send("input_audio_buffer.cleared", Json::object());
}

void RealtimeSession::transcribe_later_locked() {
  if (transcribing_ || items_.empty()) return;
  transcribing_ = true;
  const auto task = [self = shared_from_this()] {
    std::unique_lock lock(self->mutex_);
    const Item item = std::move(self->items_.front());
    self->items_.pop_front();
    const bool behind = self->item_samples_ > self->most_samples_;
    lock.unlock();
    const auto failed = [&](const std::exception& error) {
      self->send("conversation.item.input_audio_transcription.failed",
                 {{"item_id", item.id}, {"content_index", 0}, {"error", error_of(error)}});
    };
    try {
      if (behind)
        throw ApiError(ErrorKind::unavailable, "Too much sound waits to be transcribed.", "", "queue_full", 429);
      if (!self->call_.exchange->closed()) self->transcribe(item);
    } catch (const std::exception& error) {
      failed(error);
    }
    lock.lock();
    self->item_samples_ -= item.samples.size();
    self->transcribing_ = false;
    self->transcribe_later_locked();
    self->finish_if_drained_locked();
  };
  // Not refused when others wait: the sound is here, and one turn of each session waits at most.
  context_.post_live(task);
}

void RealtimeSession::transcribe(const Item& item) {
  const auto start = std::chrono::steady_clock::now();
  const RealtimeParams& params = item.params;
  if (params.model.empty()) refuse_field("model", "no model is chosen: set transcription.model in session.update");
  const auto model = context_.models.acquire(params.model, RequestFacts{.context = Context::server, .has_audio = true});
  check_options(context_, *model, params.options, TranscriptFormat::json);
  SpanSource sound(item.samples);
  TextSoFar so_far;
  const auto tell = [&](const std::string& text) {
    if (text.empty()) return;
    send("conversation.item.input_audio_transcription.delta",
         {{"item_id", item.id}, {"content_index", 0}, {"delta", text}});
  };
  TranscribeEvents events;
  events.segment = [&](const SpeechSegment& segment) { tell(so_far.add(segment)); };
  events.text = [&](const std::string& text) { tell(so_far.add(text)); };
  events.cancelled = [this] { return call_.exchange->closed(); };
  events.cache_scope = call_.key_id;
  const Transcript transcript = recognizer_of(context_.worker, *model)->transcribe(sound, params.options, events);
  send("conversation.item.input_audio_transcription.completed",
       {{"item_id", item.id},
        {"content_index", 0},
        {"transcript", transcript_json(transcript)["text"]},
        {"usage", usage_of(context_, *model, params.options, transcript)}});
  const double took = seconds_since(start);
  context_.metrics.count_recording(transcript.duration, took);
  log::info("transcript", {{"request_id", id_},
                           {"model", model->info().ref.name},
                           {"language", transcript.language},
                           {"audio", transcript.duration},
                           {"seconds", took}});
}

void RealtimeSession::send(const char* type, Json event) {
  int64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++last_event_;
  }
  event["type"] = type;
  event["event_id"] = fmt::format("event_{}_{}", id_, number);
  call_.exchange->send(event.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void RealtimeSession::send_session(const char* what) {
  Json session = older_ ? older_realtime_session(params_) : realtime_session(params_);
  session["id"] = "sess_" + id_;
  session["expires_at"] = expires_at_;
  send(fmt::format("{}.{}", older_ ? "transcription_session" : "session", what).c_str(), {{"session", session}});
}

void RealtimeSession::fail(const std::exception& error, const Json& client_event_id) {
  Json told = error_of(error);
  told["event_id"] = client_event_id;
  send("error", {{"error", told}});
}

void RealtimeSession::finish_if_drained_locked() {
  if (!flushed_ || finished_ || working_ || transcribing_ || !items_.empty()) return;
  finished_ = true;
  call_.exchange->finish();
}

}  // namespace mlxk
