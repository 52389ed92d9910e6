#include "worker/worker.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <list>
#include <map>
#include <mutex>

#include "base/error.h"

namespace mlxk {

struct Worker::Queue {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void(Loop&)>> tasks;
  bool closed = false;

  /// False, and the task is dropped, once the worker ends.
  bool post(std::function<void(Loop&)> task) {
    {
      const std::lock_guard lock(mutex);
      if (closed) return false;
      tasks.push_back(std::move(task));
    }
    wake.notify_one();
    return true;
  }

  /// Runs `task` on the worker thread and waits for its result or exception.
  template <class Result>
  Result call(std::function<Result(Loop&)> task) {
    auto result = std::make_shared<std::promise<Result>>();
    auto future = result->get_future();
    const bool posted = post([result, task = std::move(task)](Loop& loop) {
      try {
        result->set_value(task(loop));
      } catch (...) {
        result->set_exception(std::current_exception());
      }
    });
    if (!posted) throw Error(ErrorKind::unavailable, "the engine is shutting down");
    return future.get();
  }
};

namespace {

FailedEvent failure_of(const std::exception& e) {
  const auto* error = dynamic_cast<const Error*>(&e);
  return {error ? error->kind() : ErrorKind::internal, e.what()};
}

}  // namespace

class Worker::Loop {
 public:
  explicit Loop(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  Backend& backend() { return *backend_; }
  bool busy() const { return !running_.empty(); }
  uint64_t add_model(std::unique_ptr<TextModel> model) {
    models_[++last_id_] = std::move(model);
    return last_id_;
  }
  void remove_model(uint64_t id) { models_.erase(id); }

  void start(std::shared_ptr<const ModelHandle> handle, GenerateRequest request, EventSink sink,
             std::shared_ptr<const std::atomic<bool>> cancelled) {
    try {
      auto sequence = models_.at(handle->id_)->start(std::move(request));
      running_.push_back({std::move(handle), std::move(sequence), std::move(sink), std::move(cancelled)});
    } catch (const std::exception& e) {
      sink(failure_of(e));
    }
  }

  /// Advances every running request by one step.
  void step_all() {
    for (auto it = running_.begin(); it != running_.end();) {
      if (it->cancelled->load(std::memory_order_relaxed)) {
        it->sink(it->sequence->cancelled());
        it = running_.erase(it);
        continue;
      }
      std::vector<Event> events;
      bool more = false;
      try {
        more = it->sequence->step(events);
      } catch (const std::exception& e) {
        fail_all(it->model.get(), failure_of(e));
        return;  // `it` is gone
      }
      for (const auto& event : events) it->sink(event);
      it = more ? std::next(it) : running_.erase(it);
    }
  }

  void cancel_all() {
    for (auto& running : running_) running.sink(running.sequence->cancelled());
    running_.clear();
  }

 private:
  struct Running {
    std::shared_ptr<const ModelHandle> model;
    std::unique_ptr<Sequence> sequence;
    EventSink sink;
    std::shared_ptr<const std::atomic<bool>> cancelled;
  };

  /// A failed evaluation may belong to any array in flight on this model: nobody's caches can be trusted any more.
  void fail_all(const ModelHandle* model, const FailedEvent& failure) {
    for (auto it = running_.begin(); it != running_.end();) {
      if (it->model.get() != model) {
        ++it;
        continue;
      }
      it->sequence.reset();
      it->sink(failure);
      it = running_.erase(it);
    }
  }

  // Order matters: sequences refer to models, models to the backend.
  std::unique_ptr<Backend> backend_;
  std::map<uint64_t, std::unique_ptr<TextModel>> models_;
  uint64_t last_id_ = 0;
  std::list<Running> running_;
};

Worker::Worker(std::function<std::unique_ptr<Backend>()> make) : queue_(std::make_shared<Queue>()) {
  std::promise<void> ready;
  auto started = ready.get_future();
  thread_ = std::thread([queue = queue_, make = std::move(make), ready = std::move(ready)]() mutable {
    std::unique_ptr<Loop> loop;
    try {
      loop = std::make_unique<Loop>(make());
    } catch (...) {
      ready.set_exception(std::current_exception());
      return;
    }
    ready.set_value();
    while (true) {
      std::deque<std::function<void(Loop&)>> tasks;
      {
        std::unique_lock lock(queue->mutex);
        queue->wake.wait(lock, [&] { return queue->closed || !queue->tasks.empty() || loop->busy(); });
        tasks.swap(queue->tasks);
        if (queue->closed && tasks.empty()) break;
      }
      for (auto& task : tasks) {
        task(*loop);
        task = nullptr;  // what it captured is released here, on this thread
      }
      loop->step_all();
    }
    loop->cancel_all();
  });
  try {
    started.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

Worker::~Worker() {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->closed = true;
  }
  queue_->wake.notify_one();
  thread_.join();
}

DeviceFacts Worker::device() {
  return queue_->call<DeviceFacts>([](Loop& loop) { return loop.backend().device(); });
}

std::shared_ptr<const ModelHandle> Worker::load_text(const std::filesystem::path& model_dir, ProgressSink progress) {
  return queue_->call<std::shared_ptr<const ModelHandle>>([&, queue = queue_](Loop& loop) {
    auto model = loop.backend().load_text(model_dir, progress);
    const ModelFacts facts = model->facts();
    return std::make_shared<const ModelHandle>(loop.add_model(std::move(model)), facts, queue);
  });
}

ConvertReport Worker::convert(const ConvertOptions& options, ProgressSink progress) {
  return queue_->call<ConvertReport>([&](Loop& loop) { return loop.backend().convert(options, progress); });
}

Ticket Worker::submit(std::shared_ptr<const ModelHandle> model, GenerateRequest request, EventSink sink) {
  Ticket ticket;
  auto shared = std::make_shared<GenerateRequest>(std::move(request));
  const bool posted = queue_->post([model, shared, sink, cancelled = ticket.cancelled_](Loop& loop) mutable {
    loop.start(std::move(model), std::move(*shared), std::move(sink), std::move(cancelled));
  });
  if (!posted) sink(FailedEvent{ErrorKind::unavailable, "the engine is shutting down"});
  return ticket;
}

ModelHandle::~ModelHandle() {
  queue_->post([id = id_](Worker::Loop& loop) { loop.remove_model(id); });
}

}  // namespace mlxk
