#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "worker/backend.h"

namespace mlxk {

/// A request that runs; dropping it does not cancel.
class Ticket {
 public:
  /// Asks the worker to end the request at the next step; its Done says `cancelled`. Any thread.
  void cancel() { cancelled_->store(true, std::memory_order_relaxed); }

 private:
  friend class Worker;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

/// A loaded model as other threads hold it: its facts. The model itself lives on the worker thread and is unloaded
/// there once the last handle is gone.
class ModelHandle;

/// The one thread that owns the backend (and so libmlx). Public members from any thread but the worker's own.
class Worker {
 public:
  /// Starts the thread and makes the backend on it; throws what `make` throws.
  explicit Worker(std::function<std::unique_ptr<Backend>()> make);
  /// Cancels what runs (Done with `cancelled`), unloads every model, ends the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  DeviceFacts device();
  /// Waits for the load; throws the backend's Error. `progress` is called on the worker thread.
  std::shared_ptr<const ModelHandle> load_text(const std::filesystem::path& model_dir, ProgressSink progress = {},
                                               const TextModelOptions& options = {});
  /// Waits for the conversion; throws the backend's Error.
  ConvertReport convert(const ConvertOptions& options, ProgressSink progress = {});
  /// Queues a request; its events reach `sink` on the worker thread, also a failure to start. (While the worker ends, the
  /// refusal reaches it on the caller's thread, before submit returns.)
  Ticket submit(std::shared_ptr<const ModelHandle> model, GenerateRequest request, EventSink sink);

 private:
  friend class ModelHandle;
  struct Queue;  // what other threads hand over
  class Loop;    // what only the worker thread touches

  std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

class ModelHandle {
 public:
  ModelHandle(uint64_t id, ModelFacts facts, std::shared_ptr<Worker::Queue> queue)
      : id_(id), facts_(std::move(facts)), queue_(std::move(queue)) {}
  ~ModelHandle();
  ModelHandle(const ModelHandle&) = delete;
  ModelHandle& operator=(const ModelHandle&) = delete;
  const ModelFacts& facts() const { return facts_; }

 private:
  friend class Worker;
  const uint64_t id_;  // not the address: the next handle may get that before this one's unloading was heard of
  ModelFacts facts_;
  std::shared_ptr<Worker::Queue> queue_;
};

}  // namespace mlxk
