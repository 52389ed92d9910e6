#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "media/raw_sound.h"
#include "server/context.h"
#include "server/openai/realtime_params.h"
#include "speech/turns.h"

namespace mlxk {

/// A live transcription over a WebSocket: OpenAI's realtime events of type transcription. Messages and sound are
/// processed in order on preparation threads, a few seconds of sound at a time; each turn of speech is transcribed on a
/// thread for recordings, one after the other.
class RealtimeSession : public MessageSink, public std::enable_shared_from_this<RealtimeSession> {
 public:
  /// `older`: events in the form before transcription_session became session. Counts as one of the context's sessions.
  RealtimeSession(ServerContext& context, ApiCall call, std::string model, bool older);
  ~RealtimeSession() override;

  /// Sends the session to the client; call it once the socket is open.
  void start();
  void take(std::string message) override;
  void drain() override;

 private:
  /// A turn that is to be transcribed.
  struct Item {
    std::string id;
    std::vector<float> samples;
    RealtimeParams params;
  };

  void work_later_locked();
  void work();
  bool work_on();
  void handle(const std::string& message);
  void update(const Json& event, bool older);
  void append(const Json& event);
  void hear(std::span<const float> samples);
  void hear_rest();
  void commit(int64_t until);
  void clear();
  void transcribe_later_locked();
  void transcribe(const Item& item);
  void send(const char* type, Json event);
  void send_session(const char* what);
  void fail(const std::exception& error, const Json& client_event_id);
  void finish_if_drained_locked();
  std::string new_item_id() { return "item_" + id_ + "_" + std::to_string(++last_item_); }

  ServerContext& context_;
  const ApiCall call_;
  const std::string id_;
  const int64_t expires_at_;
  const size_t most_samples_;  // that wait for a commit, and that wait to be transcribed

  // Of the task that works; there is one at a time.
  bool older_;
  RealtimeParams params_;
  std::optional<RawSound> sound_;
  std::vector<float> arrived_;  // at 16 kHz, from heard_ on to be heard
  size_t heard_ = 0;
  TurnDetector detector_;
  int64_t detector_begin_ = 0;  // the first sample that it read, counted from the start
  std::vector<float> buffer_;   // from the sample buffer_begin_, counted from the start
  int64_t buffer_begin_ = 0;
  std::string item_id_;      // of the turn in progress
  std::string previous_id_;  // of the last item
  int64_t last_item_ = 0;

  std::mutex mutex_;
  std::deque<std::string> messages_;
  size_t message_bytes_ = 0;
  std::deque<Item> items_;
  size_t item_samples_ = 0;
  int64_t last_event_ = 0;
  bool working_ = false, transcribing_ = false, draining_ = false, flushed_ = false, finished_ = false;
};

}  // namespace mlxk
