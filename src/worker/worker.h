#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "worker/backend.h"
#include "worker/limits.h"
#include "worker/status.h"

namespace mlxk {

/// A request that waits or runs; dropping it does not cancel.
class Ticket {
 public:
  /// Asks the worker to end the request before the next step; its Done says `cancelled`. Any thread.
  void cancel() { cancelled_->store(true, std::memory_order_relaxed); }

 private:
  friend class Worker;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

class EngineLoop;
struct Job;
struct Mailbox;

/// A loaded model as other threads hold it: its facts. The model itself lives on the worker thread and is unloaded
/// there once the last handle is gone, before anything that is loaded after that; a request holds one until its last
/// event.
class ModelHandle {
 public:
  ModelHandle(uint64_t id, ModelFacts facts, std::shared_ptr<Mailbox> mailbox);
  ~ModelHandle();
  ModelHandle(const ModelHandle&) = delete;
  ModelHandle& operator=(const ModelHandle&) = delete;
  /// Of this worker's models, never given twice.
  uint64_t id() const { return id_; }
  const ModelFacts& facts() const { return facts_; }

 private:
  const uint64_t id_;  // not the address: the next handle may get that before this one's unloading was heard of
  ModelFacts facts_;
  std::shared_ptr<Mailbox> mailbox_;
};

/// The one thread that owns the backend (and so libmlx). Public members from any thread but the worker's own.
class Worker {
 public:
  /// Starts the thread and makes the backend on it; throws what `make` throws.
  explicit Worker(std::function<std::unique_ptr<Backend>()> make, const WorkerLimits& limits = {});
  /// Cancels what runs and waits (Done with `cancelled`), unloads every model, ends the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  DeviceFacts device();
  /// Waits for the load; throws the backend's Error. `progress` is called on the worker thread; the requests on other
  /// models go on between two of its calls.
  std::shared_ptr<const ModelHandle> load(ModelKind kind, const std::filesystem::path& model_dir,
                                          ProgressSink progress = {}, const LoadOptions& options = {});
  /// Waits for the conversion, as does everybody else; throws the backend's Error.
  ConvertReport convert(const ConvertOptions& options, ProgressSink progress = {});
  /// Queues a request; its events reach `sink` on the worker thread, a failure to start too. It waits where the limits
  /// say so: within a cache_scope in the order of arrival, the scopes in turn. Fails with `invalid`: it can never run;
  /// `unavailable`: too many wait (the last of the scope that has most goes); `deadline`: it has passed, or cannot be
  /// met. (While the worker ends, the refusal reaches the sink on the caller's thread, before submit returns.)
  Ticket submit(std::shared_ptr<const ModelHandle> model, GenerateRequest request, EventSink sink);
  /// The same for one window of sound, on a speech model. Its answers go to the request's `next`; the sink gets its
  /// Done or Failed.
  Ticket submit(std::shared_ptr<const ModelHandle> model, SpeechRequest request, EventSink sink);
  /// How it is; at once, whatever the worker does.
  WorkerStatus status() const;

 private:
  Ticket submit(Job job, EventSink sink);

  std::shared_ptr<Mailbox> mailbox_;
  std::thread thread_;
};

}  // namespace mlxk
