#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

#include "base/model_kind.h"
#include "worker/event.h"
#include "worker/limits.h"
#include "worker/load_options.h"
#include "worker/model_handle.h"
#include "worker/status.h"

namespace mlxk {

/// A request that waits or runs; destroying the ticket does not cancel it.
class Ticket {
 public:
  /// Asks the worker to end the request before the next step, with Done `cancelled`. Any thread.
  void cancel() { cancelled_->store(true, std::memory_order_relaxed); }

 private:
  friend class Worker;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

class Backend;
class EngineLoop;
struct ConvertOptions;
struct ConvertReport;
struct GenerateRequest;
struct Job;
struct SpeechRequest;

/// The one thread that owns the backend (and so libmlx). Public members from any thread but the worker's own.
class Worker {
 public:
  /// Starts the thread and makes the backend on it; throws the exceptions of `make`.
  explicit Worker(std::function<std::unique_ptr<Backend>()> make, const WorkerLimits& limits = {});
  /// Cancels all requests (Done `cancelled`), unloads every model, ends the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  DeviceFacts device();
  /// Backend::gpu_bandwidth, between two steps of the requests in flight.
  double gpu_bandwidth();
  /// Loads a model and waits for it; throws the backend's Error. `progress` is called on the worker thread; requests on
  /// other models continue between its calls.
  std::shared_ptr<const ModelHandle> load(ModelKind kind, const std::filesystem::path& model_dir,
                                          ProgressSink progress = {}, const LoadOptions& options = {});
  /// Converts a model and waits for it; all requests wait too. Throws the backend's Error.
  ConvertReport convert(const ConvertOptions& options, ProgressSink progress = {});
  /// Queues a request; all its events, a failure to start too, reach `sink` on the worker thread. Waiting requests are
  /// served in the order of arrival within a cache_scope, and the scopes in turn. Fails with `invalid`: the request can
  /// never run; `unavailable`: too many wait (the newest of the largest scope is shed); `deadline`: it has passed or
  /// cannot be met. (While the worker ends, `sink` gets the refusal on the caller's thread, before submit returns.)
  Ticket submit(std::shared_ptr<const ModelHandle> model, GenerateRequest request, EventSink sink);
  /// Queues one window of audio for a speech model. Its answers go to the request's `next`; `sink` gets Done or Failed.
  Ticket submit(std::shared_ptr<const ModelHandle> model, SpeechRequest request, EventSink sink);
  /// The same for texts, on an embedding model: VectorEvents, with PrefillEvents of their tokens between them.
  Ticket submit(std::shared_ptr<const ModelHandle> model, EmbedRequest request, EventSink sink);
  /// The state of the worker; never waits for it.
  WorkerStatus status() const;

 private:
  Ticket submit(Job job, EventSink sink);

  std::shared_ptr<Mailbox> mailbox_;
  std::thread thread_;
};

}  // namespace mlxk
