#include "worker/worker.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
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
  bool busy() const {
    return std::any_of(models_.begin(), models_.end(), [](const auto& one) { return !one.second.running.empty(); });
  }
  uint64_t add_model(std::unique_ptr<TextModel> model) {
    models_[++last_id_].model = std::move(model);
    return last_id_;
  }
  void remove_model(uint64_t id) { models_.erase(id); }

  void start(std::shared_ptr<const ModelHandle> handle, GenerateRequest request, EventSink sink,
             std::shared_ptr<const std::atomic<bool>> cancelled) {
    try {
      Model& model = models_.at(handle->id_);
      auto sequence = model.model->start(std::move(request));
      model.running.push_back({std::move(handle), std::move(sequence), std::move(sink), std::move(cancelled)});
    } catch (const std::exception& e) {
      sink(failure_of(e));
    }
  }

  /// Advances every model's running requests by one step.
  void step_all() {
    for (auto& [id, model] : models_) step(model);
  }

  void cancel_all() {
    for (auto& [id, model] : models_) {
      for (auto& running : model.running) running.sink(running.sequence->cancelled());
      model.running.clear();
    }
  }

 private:
  struct Running {
    std::shared_ptr<const ModelHandle> handle;
    std::unique_ptr<Sequence> sequence;
    EventSink sink;
    std::shared_ptr<const std::atomic<bool>> cancelled;
  };
  struct Model {
    std::unique_ptr<TextModel> model;
    std::vector<Running> running;  // in the order of arrival; they refer to the model
  };

  static void step(Model& model) {
    auto& running = model.running;
    std::erase_if(running, [](Running& one) {
      if (!one.cancelled->load(std::memory_order_relaxed)) return false;
      one.sink(one.sequence->cancelled());
      return true;
    });
    if (running.empty()) return;
    std::vector<Sequence*> sequences;
    for (const auto& one : running) sequences.push_back(one.sequence.get());
    std::vector<bool> ended(running.size());
    try {
      model.model->step(sequences, [&](size_t index, const Event& event) {
        ended[index] = std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event);
        running[index].sink(event);
      });
    } catch (const std::exception& e) {
      // A failed evaluation may belong to any array in flight on this model: nobody's caches can be trusted any more.
      const FailedEvent failure = failure_of(e);
      for (auto& one : running) one.sequence.reset();
      for (size_t i = 0; i < running.size(); ++i) {
        if (!ended[i]) running[i].sink(failure);
      }
      running.clear();
      return;
    }
    size_t index = 0;
    std::erase_if(running, [&](const Running&) { return ended[index++]; });
  }

  std::unique_ptr<Backend> backend_;  // the models refer to it
  std::map<uint64_t, Model> models_;
  uint64_t last_id_ = 0;
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

std::shared_ptr<const ModelHandle> Worker::load_text(const std::filesystem::path& model_dir, ProgressSink progress,
                                                     const TextModelOptions& options) {
  return queue_->call<std::shared_ptr<const ModelHandle>>([&, queue = queue_](Loop& loop) {
    auto model = loop.backend().load_text(model_dir, options, progress);
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
