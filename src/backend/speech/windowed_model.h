#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "models/audio/speech_net.h"
#include "worker/backend.h"
#include "worker/speech.h"

namespace mlxk {

/// A window of sound: its encoder runs layer by layer, then its tasks follow one after the other.
class SpeechWindow : public Sequence {
 public:
  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }
  DoneEvent done(FinishReason reason) const { return {reason, {.completion_tokens = tokens_}, {}}; }

  bool encoding() const { return !encoded_; }
  /// Whether it decodes now, in steps that all decoding windows share.
  virtual bool decodes() const = 0;
  /// Runs one layer of the encoder, so that nobody waits for all of them, or begins the next task; returns true at the
  /// end.
  bool work() { return encoded_ ? begin(task_) : encode(); }

 protected:
  /// `net` must outlive the window.
  SpeechWindow(const SpeechNet& net, SpeechRequest request) : encoder_(net), request_(std::move(request)) {}

  /// Keeps the encoder's output, evaluated.
  virtual SpeechEncoded take(const mx::array& frames) = 0;
  /// Begins a task, or does all of it; returns true at the end of the window.
  virtual bool begin(const SpeechTask& task) = 0;
  /// Requests the task after `answer`; returns true at the end of the window.
  bool ask(const SpeechAnswer& answer);

  int64_t tokens_ = 0;

 private:
  bool encode();

  const SpeechNet& encoder_;
  SpeechRequest request_;
  std::optional<EncodedAudio> encoding_;
  size_t stage_ = 0;  // the next of its stages
  bool encoded_ = false;
  SpeechTask task_;
};

/// A speech model that transcribes windows with `net`: it encodes one window at a time, and all decoding windows take
/// one step together. Worker thread.
template <class Net, class Window>
class WindowedModel : public SpeechModel {
 public:
  const ModelFacts& facts() const override { return facts_; }

  std::unique_ptr<Sequence> start(SpeechRequest request) override {
    check(request);
    return std::make_unique<Window>(*net_, std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    std::vector<size_t> decoding;
    for (size_t i = 0; i < running.size(); ++i) {
      if (window(running, i).decodes()) decoding.push_back(i);
    }
    if (!decoding.empty()) decode(running, decoding, sink);
    // Between two tokens of the other windows, the encoder runs one layer for one window.
    for (size_t k = 0; k < running.size(); ++k) {
      const size_t i = (turn_ + k) % running.size();
      if (std::find(decoding.begin(), decoding.end(), i) != decoding.end()) continue;
      turn_ = window(running, i).encoding() ? i : i + 1;
      guarded(running, i, sink, [&] { return window(running, i).work(); });
      break;
    }
  }

 protected:
  explicit WindowedModel(std::unique_ptr<Net> net) : net_(std::move(net)) {
    const auto& shape = net_->shape();
    facts_ = {
        .model_type = shape.model_type,
        .vocab_size = shape.vocab_size,
        .context_length = shape.text_positions,
        .weight_bytes = shape.weight_bytes,
        .speech = SpeechFacts{shape.mels, 2 * shape.audio_positions, shape.audio_positions, shape.text_positions}};
  }

  /// One step of every window at `decoding`.
  virtual void decode(std::span<Sequence* const> running, const std::vector<size_t>& decoding,
                      const StepSink& sink) = 0;

  static Window& window(std::span<Sequence* const> running, size_t i) { return static_cast<Window&>(*running[i]); }

  /// Runs a step of one window; an error fails only that window.
  template <class Body>
  void guarded(std::span<Sequence* const> running, size_t i, const StepSink& sink, const Body& body) {
    try {
      if (!body()) return;
    } catch (const Error& e) {
      sink(i, FailedEvent{e.kind(), e.what()});
      return;
    }
    net_->check_weights();
    sink(i, window(running, i).done(FinishReason::stop));
  }

  const std::unique_ptr<Net> net_;
  ModelFacts facts_;

 private:
  size_t turn_ = 0;  // the window whose turn is next
};

}  // namespace mlxk
