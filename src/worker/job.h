#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "worker/event.h"

namespace mlxk {

class EngineModel;
class ModelHandle;
class Sequence;

/// A request with the kind of model that it needs. Made on any thread, called on the worker thread.
class Work {
 public:
  virtual ~Work() = default;
  /// Throws invalid naming the field, also for a model of another kind; called once, before the request waits.
  virtual void check(const EngineModel& model) const = 0;
  /// The number of prompt tokens that a cache would supply if the request began now.
  virtual int64_t cached_tokens(const EngineModel& model) const = 0;
  /// The most bytes that its images and recordings need; throws invalid for one that the model does not accept.
  virtual uint64_t media_bytes(const EngineModel& model) const = 0;
  /// Starts the request; called at most once.
  virtual std::unique_ptr<Sequence> start(EngineModel& model) = 0;
};

/// A request between submit and its last event.
struct Job {
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<const ModelHandle> model;
  std::unique_ptr<Work> work;
  std::string scope;  // its owner: scopes take turns
  std::optional<Clock::time_point> deadline;
  int64_t prompt_tokens = 0, max_tokens = 0;
  bool max_tokens_named = true;
  EventSink sink;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  Clock::time_point submitted = Clock::now();
  uint64_t kv_bytes = 0;  // the most that it needs, with those of its media; set by the loop
};

}  // namespace mlxk
