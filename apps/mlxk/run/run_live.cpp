#include "run/run_live.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "media/mel.h"
#include "media/raw_sound.h"
#include "media/span_source.h"
#include "speech/turns.h"
#include "terminal/interrupt.h"
#include "terminal/markdown.h"

namespace mlxk {

namespace {

constexpr size_t kReadAhead = 4 << 20;  // bytes of stdin
constexpr auto kLiveWait = std::chrono::milliseconds(50);
constexpr int64_t kPartialEvery = kSpeechRate;        // samples between two texts of a turn in progress
constexpr int64_t kShortPause = kSpeechRate / 5;      // samples after which a turn may have ended
constexpr int64_t kKept = 15 * int64_t{kSpeechRate};  // samples before a turn that may belong to it
constexpr size_t kWaitingTurns = 2;                   // with more, stdin waits

/// Part of the sound, and the text that is made of it.
struct LiveTurn {
  int64_t begin = 0, end = 0;  // samples since the start
  int64_t voice_end = 0;       // the sample after its last voice
  bool final = false;
  std::vector<float> samples;
};

double seconds_at(int64_t sample) { return static_cast<double>(sample) / kSpeechRate; }

/// Prints texts in the format of the run.
class LivePrinter {
 public:
  explicit LivePrinter(const SpeechRun& run)
      : run_(run), terminal_(isatty(STDOUT_FILENO) != 0 && run.format == TranscriptFormat::text) {
    write(format_header(run.format));
  }
  ~LivePrinter() { write(clear()); }

  void print(const LiveTurn& turn, Transcript transcript) {
    if (run_.format == TranscriptFormat::json) {
      if (turn.final || !transcript.text.empty())
        write(line(turn, transcript).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
      return;
    }
    std::string text = format_transcript(TranscriptFormat::text, transcript, run_.options.translate);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.empty()) return;
    if (!turn.final) {
      if (terminal_) show(without_controls(text));
      return;
    }
    if (run_.format == TranscriptFormat::text)
      return write(clear() + (terminal_ ? without_controls(text) : text) + "\n");
    for (SpeechSegment& segment : transcript.segments) {
      if (segment.text.empty()) continue;
      segment.start += seconds_at(turn.begin);
      segment.end += seconds_at(turn.begin);
      write(format_segment(run_.format, segment, count_++));
    }
  }

 private:
  Json line(const LiveTurn& turn, const Transcript& transcript) const {
    return {{"type", turn.final ? "final" : "partial"},
            {"start", seconds_at(turn.begin)},
            {"end", seconds_at(turn.end)},
            {"text", transcript_json(transcript)["text"]},
            {"language", transcript.language}};
  }

  /// The end of the text that fits into the terminal's line.
  void show(const std::string& text) {
    winsize size{};
    const size_t width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
    size_t from = text.size() - std::min(text.size(), width - 1);
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
    write(clear() + text.substr(from));
    shown_ = true;
  }
  std::string clear() { return std::exchange(shown_, false) ? "\r\x1b[K" : ""; }
  static void write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  const SpeechRun& run_;
  const bool terminal_;
  bool shown_ = false;
  size_t count_ = 0;
};

/// The transcription of one part at a time, on its own thread.
class LiveTask {
 public:
  LiveTask(const SpeechRun& run, const Recognizer& recognizer) : run_(run), recognizer_(recognizer) {}
  ~LiveTask() { stop(); }
  LiveTask(const LiveTask&) = delete;
  LiveTask& operator=(const LiveTask&) = delete;

  bool runs() const { return result_.valid(); }
  bool ready() const { return result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  LiveTurn& turn() { return turn_; }
  void start(LiveTurn turn) {
    turn_ = std::move(turn);
    stopped_ = false;
    result_ = std::async(std::launch::async, [this] {
      SpanSource source(turn_.samples);
      TranscribeEvents events;
      events.cancelled = [this] { return stopped_ || interrupted(); };
      return recognizer_.transcribe(source, run_.options, events);
    });
  }
  /// nullopt: it was stopped.
  std::optional<Transcript> take() {
    try {
      return result_.get();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled && stopped_) return std::nullopt;
      throw;
    }
  }
  void stop() { stopped_ = true; }

 private:
  const SpeechRun& run_;
  const Recognizer& recognizer_;
  std::atomic<bool> stopped_{false};
  LiveTurn turn_;
  std::future<Transcript> result_;  // its destructor waits
};

/// The turns of the sound so far.
class LiveTranscript {
 public:
  LiveTranscript(const SpeechRun& run, const LoadedSpeech& model)
      : printer_(run), sound_(RawFormat::s16le, run.sample_rate), task_(run, *model.recognizer) {}

  void hear(const std::string& bytes) {
    arrived_.clear();
    sound_.push(bytes, arrived_);
    hear_arrived();
  }
  void finish() {
    arrived_.clear();
    sound_.finish(arrived_);
    hear_arrived();
    if (detector_.speaks()) end_turn(buffer_end());
    detector_.restart();
  }
  /// Prints what is ready, and starts what is next.
  void advance() {
    if (task_.runs() && task_.ready()) take();
    if (task_.runs()) {
      if (!finals_.empty() && !task_.turn().final) task_.stop();
      return;
    }
    if (!finals_.empty()) {
      task_.start(std::move(finals_.front()));
      finals_.pop_front();
    } else if (detector_.speaks() && partial_is_due()) {
      task_.start(part(buffer_end(), false));
    }
  }
  bool waits() const { return finals_.size() >= kWaitingTurns; }
  bool idle() const { return finals_.empty() && !task_.runs(); }

 private:
  int64_t buffer_end() const { return buffer_begin_ + static_cast<int64_t>(buffer_.size()); }

  void hear_arrived() {
    buffer_.insert(buffer_.end(), arrived_.begin(), arrived_.end());
    detector_.take(arrived_, [this](const TurnChange& change) {
      if (change.begins) {
        begin_ = std::max(change.at, buffer_begin_);
        heard_until_ = begin_;
        done_.reset();
      } else {
        end_turn(std::min(change.at, buffer_end()));
      }
    });
    const int64_t keep = detector_.speaks() ? begin_ : buffer_end() - kKept;
    if (keep - buffer_begin_ < kKept) return;
    buffer_.erase(buffer_.begin(), buffer_.begin() + (keep - buffer_begin_));
    buffer_begin_ = keep;
  }

  LiveTurn part(int64_t end, bool final) {
    heard_until_ = end;
    LiveTurn turn{begin_, end, detector_.voice_end(), final, {}};
    turn.samples.assign(buffer_.begin() + (begin_ - buffer_begin_), buffer_.begin() + (end - buffer_begin_));
    return turn;
  }

  /// The turn has ended. A text that was made in its last pause is the final one.
  void end_turn(int64_t end) {
    const bool same = detector_.voice_end() > begin_;
    if (same && task_.runs() && !task_.turn().final && finals_.empty() &&
        task_.turn().voice_end == detector_.voice_end() && task_.turn().end >= detector_.voice_end()) {
      task_.turn().final = true;
    } else if (same && !task_.runs() && done_ && done_->first.voice_end == detector_.voice_end() &&
               done_->first.end >= detector_.voice_end()) {
      done_->first.final = true;
      printer_.print(done_->first, std::move(done_->second));
    } else {
      finals_.push_back(part(end, true));
    }
    done_.reset();
  }

  bool partial_is_due() const {
    const bool pauses =
        buffer_end() - detector_.voice_end() >= kShortPause && heard_until_ < detector_.voice_end() + kShortPause;
    return pauses || buffer_end() - heard_until_ >= kPartialEvery;
  }

  void take() {
    auto transcript = task_.take();
    if (!transcript) return;
    LiveTurn turn = std::move(task_.turn());
    turn.samples.clear();
    printer_.print(turn, *transcript);
    if (!turn.final) done_.emplace(turn, *std::move(transcript));
  }

  LivePrinter printer_;
  RawSound sound_;
  TurnDetector detector_{{.silence_ms = 500}};
  std::vector<float> arrived_, buffer_;
  int64_t buffer_begin_ = 0;
  int64_t begin_ = 0;                                    // of the turn in progress
  int64_t heard_until_ = 0;                              // its part that was transcribed last
  std::optional<std::pair<LiveTurn, Transcript>> done_;  // the last text of the turn in progress
  std::deque<LiveTurn> finals_;
  LiveTask task_;
};

}  // namespace

struct LiveInput::State {
  void read() {
    std::string piece(64 << 10, '\0');
    while (!stopped) {
      {
        std::unique_lock lock(mutex);
        if (bytes.size() >= kReadAhead) {
          taken.wait_for(lock, kLiveWait);
          continue;
        }
      }
      pollfd state{STDIN_FILENO, POLLIN, 0};
      if (poll(&state, 1, static_cast<int>(kLiveWait.count())) <= 0) continue;
      const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      const std::lock_guard lock(mutex);
      if (count <= 0) {
        if (count < 0) problem = std::strerror(errno);
        ended = true;
        return arrived.notify_all();
      }
      bytes.append(piece, 0, static_cast<size_t>(count));
      arrived.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable arrived, taken;
  std::string bytes, problem;
  bool ended = false;
  std::atomic<bool> stopped{false};
  std::thread thread;
};

LiveInput::LiveInput() : state_(std::make_unique<State>()) {
  state_->thread = std::thread([state = state_.get()] { state->read(); });
}

LiveInput::~LiveInput() {
  state_->stopped = true;
  state_->thread.join();
}

std::string LiveInput::take() {
  std::unique_lock lock(state_->mutex);
  state_->arrived.wait_for(lock, kLiveWait, [&] { return !state_->bytes.empty() || state_->ended; });
  if (state_->bytes.empty() && !state_->problem.empty())
    throw Error(ErrorKind::io, "cannot read stdin: " + state_->problem);
  std::string taken = std::exchange(state_->bytes, {});
  state_->taken.notify_all();
  return taken;
}

bool LiveInput::ended() const {
  const std::lock_guard lock(state_->mutex);
  return state_->ended && state_->bytes.empty() && state_->problem.empty();
}

int transcribe_live(const SpeechRun& run, const LoadedSpeech& model, LiveInput& input) {
  LiveTranscript transcript(run, model);
  bool begun = false, finished = false;
  while (!finished || !transcript.idle()) {
    if (interrupted()) throw Error(ErrorKind::cancelled, "the transcription was cancelled");
    if (transcript.waits() || finished) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    } else if (const std::string bytes = input.take(); !bytes.empty()) {
      if (!std::exchange(begun, true) && bytes.starts_with("RIFF")) {
        throw Error(ErrorKind::invalid, "stdin is a WAV file, and --live reads raw samples",
                    "leave --live out, or record without a header: arecord -t raw, ffmpeg -f s16le");
      }
      transcript.hear(bytes);
    } else if (input.ended()) {
      transcript.finish();
      finished = true;
    }
    transcript.advance();
  }
  return 0;
}

}  // namespace mlxk
