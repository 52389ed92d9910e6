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

/// A request as its model takes it; knows which kind of model that must be. Made anywhere, called on the worker thread.
class Work {
 public:
  virtual ~Work() = default;
  /// Throws invalid naming the field, also for a model of another kind; called once, before the request waits.
  virtual void check(const EngineModel& model) const = 0;
  /// The prompt tokens that a cache would give if the request began now.
  virtual int64_t cached_tokens(const EngineModel& model) const = 0;
  /// Begins the request; called once at most.
  virtual std::unique_ptr<Sequence> start(EngineModel& model) = 0;
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
