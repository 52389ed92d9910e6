#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "worker/backend.h"

namespace mlxk {

class ModelHandle;

/// A model on the worker thread: what steps it, and what kind of requests it takes.
struct LoadedModel {
  std::unique_ptr<EngineModel> model;
  TextModel* text = nullptr;  // the same, where it is one
  SpeechModel* speech = nullptr;
};

/// What a request asks of its model; knows which kind of model that must be. Made anywhere, called on the worker
/// thread.
class Work {
 public:
  virtual ~Work() = default;
  /// Throws invalid naming the field; called once, before it waits.
  virtual void check(const LoadedModel& model) const = 0;
  /// Of its prompt, how many tokens a cache would give if it began now.
  virtual int64_t cached_tokens(const LoadedModel& model) const = 0;
  /// Begins it; called once at most.
  virtual std::unique_ptr<Sequence> start(const LoadedModel& model) = 0;
};

/// A request between submit and its last event, as waiting, stepping and ending see it.
struct Job {
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<const ModelHandle> model;
  std::unique_ptr<Work> work;
  std::string scope;  // whose it is: scopes take turns
  std::optional<Clock::time_point> deadline;
  int64_t prompt_tokens = 0, max_tokens = 0;
  bool max_tokens_named = true;
  EventSink sink;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  Clock::time_point submitted = Clock::now();
  uint64_t kv_bytes = 0;  // what it needs at most; the loop fills it in
};

}  // namespace mlxk
