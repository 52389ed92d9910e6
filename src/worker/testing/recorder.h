#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "worker/request.h"
#include "worker/worker.h"

namespace mlxk::testing {

/// Collects a request's events and lets a test wait for them; a request may outlive it.
class Recorder {
 public:
  EventSink sink() {
    return [state = state_](const Event& event) {
      const std::lock_guard lock(state->mutex);
      state->events.push_back(event);
      state->changed.notify_all();
    };
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->tokens().size() >= count; });
  }
  /// Waits for the last event: Done or Failed.
  Event last() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->ended(); });
    return state_->events.back();
  }
  std::vector<int32_t> tokens() {
    const std::lock_guard lock(state_->mutex);
    return state_->tokens();
  }
  std::map<size_t, std::vector<float>> vectors() {
    const std::lock_guard lock(state_->mutex);
    std::map<size_t, std::vector<float>> vectors;
    for (const Event& event : state_->events) {
      if (const auto* vector = std::get_if<VectorEvent>(&event)) vectors[vector->index] = vector->numbers.vector;
    }
    return vectors;
  }
  size_t count() {
    const std::lock_guard lock(state_->mutex);
    return state_->events.size();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Event> events;

    bool ended() const {
      return !events.empty() &&
             (std::holds_alternative<DoneEvent>(events.back()) || std::holds_alternative<FailedEvent>(events.back()));
    }
    std::vector<int32_t> tokens() const {
      std::vector<int32_t> tokens;
      for (const Event& event : events) {
        if (const auto* token = std::get_if<TokenEvent>(&event)) tokens.push_back(token->token);
      }
      return tokens;
    }
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// A prompt of three tokens whose first says how the fake answers.
inline GenerateRequest ask(int32_t how, int64_t max_tokens = 5) {
  GenerateRequest request;
  request.prompt = {how, 1, 2};
  request.max_tokens = max_tokens;
  return request;
}

inline FinishReason reason_of(const Event& event) { return std::get<DoneEvent>(event).reason; }

/// Runs `body` while the worker is blocked, so that all requests that it submits start in the same step.
inline void while_held(Worker& worker, const std::function<void()>& body) {
  std::promise<void> held, go;
  std::thread loading([&] {
    worker.load(ModelKind::text, "held", [&](const std::string&, int64_t, int64_t) {
      held.set_value();
      go.get_future().wait();
    });
  });
  held.get_future().wait();
  body();
  go.set_value();
  loading.join();
}

}  // namespace mlxk::testing
