#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <mutex>
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

/// A loaded model as other threads hold it; it is unloaded on the worker thread once the last handle is gone.
class ModelHandle;

/// The one thread that owns the backend (and so libmlx). Public members from any thread.
class Worker {
 public:
  /// Starts the thread and makes the backend on it; throws what `make` throws.
  explicit Worker(std::function<std::unique_ptr<Backend>()> make);
  /// Cancels what runs, waits for the thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  DeviceFacts device();
  /// Waits for the load; throws the backend's Error. `progress` is called on the worker thread.
  std::shared_ptr<ModelHandle> load_text(const std::filesystem::path& model_dir, ProgressSink progress = {});
  /// Waits for the conversion; throws the backend's Error.
  ConvertReport convert(const ConvertOptions& options, ProgressSink progress = {});
  /// Queues a request; its events reach `sink` on the worker thread, also a failure to start.
  Ticket submit(std::shared_ptr<ModelHandle> model, GenerateRequest request, EventSink sink);

 private:
  struct Running;
  void loop(std::function<std::unique_ptr<Backend>()> make, std::promise<void> ready);
  void step_all();
  void post(std::function<void()> task);
  template <class Result>
  Result call(std::function<Result()> task);
  void fail_model(const ModelHandle* model, const FailedEvent& failure);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::list<Running> running_;          // worker thread only
  std::unique_ptr<Backend> backend_;    // worker thread only
  std::thread thread_;
};

/// Facts may be read from any thread; the model itself only by the worker.
class ModelHandle {
 public:
  const ModelFacts& facts() const { return facts_; }
  ~ModelHandle();

 private:
  friend class Worker;
  Worker* worker_ = nullptr;
  std::unique_ptr<TextModel> model_;
  ModelFacts facts_;
};

}  // namespace mlxk
