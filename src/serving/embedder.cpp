#include "serving/embedder.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "hub/resolve.h"
#include "serving/admission.h"

namespace mlxk {

namespace {
constexpr std::chrono::milliseconds kAskEvery{50};
}

struct PendingVectors::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<TextNumbers> numbers;
  std::optional<FailedEvent> failure;
  bool done = false;
};

std::vector<TextNumbers> PendingVectors::wait(const std::function<bool()>& stop_wanted) {
  std::unique_lock lock(state_->mutex);
  while (!state_->changed.wait_for(lock, kAskEvery, [&] { return state_->done; })) {
    if (stop_wanted()) throw Error(ErrorKind::cancelled, "interrupted");
  }
  if (state_->failure) throw Error(state_->failure->kind, state_->failure->message);
  return std::move(state_->numbers);
}

PendingVectors::~PendingVectors() {
  if (state_) ticket_.cancel();
}

PendingVectors submit_texts(Worker& worker, const std::shared_ptr<const ModelHandle>& model, EmbedRequest request) {
  PendingVectors pending;
  const auto state = std::make_shared<PendingVectors::State>();
  pending.state_ = state;
  state->numbers.resize(request.texts.size());
  pending.ticket_ = worker.submit(model, std::move(request), [state](const Event& event) {
    const std::lock_guard lock(state->mutex);
    if (const auto* vector = std::get_if<VectorEvent>(&event)) {
      state->numbers[vector->index] = vector->numbers;
    } else if (const auto* failed = std::get_if<FailedEvent>(&event)) {
      state->failure = *failed;
      state->done = true;
    } else if (std::holds_alternative<DoneEvent>(event)) {
      state->done = true;
    }
    if (state->done) state->changed.notify_all();
  });
  return pending;
}

Embedder::Embedder(const std::string& spec, EncoderTask task, const MakeBackend& make_backend)
    : info_(probe_model(resolve_model(spec))) {
  const Decision decision = admit(info_, this_machine(), {.encodes = task});
  if (decision.kind == Decision::Kind::warn) log::warn(decision.message);
  worker_ = std::make_unique<Worker>(make_backend);
  encoder_ = TextEncoder::load(info_);
  handle_ = worker_->load(ModelKind::embedding, info_.ref.path);
}

PendingVectors Embedder::submit(std::vector<EncodedText> texts, EmbedOutputs outputs) {
  return submit_texts(*worker_, handle_,
                      {.texts = std::move(texts), .outputs = outputs, .score_tokens = encoder_->score_tokens()});
}

}  // namespace mlxk
