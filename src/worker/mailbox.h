#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "worker/job.h"
#include "worker/status_board.h"

namespace mlxk {

class EngineLoop;

/// The messages of other threads to the worker's. A closed mailbox accepts nothing.
struct Mailbox {
  using Call = std::function<void(EngineLoop&)>;

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<uint64_t> unloads;  // ids of models whose last handle is gone
  std::deque<Job> jobs;
  std::deque<Call> calls;
  bool closed = false;
  StatusBoard board;

  bool empty() const { return unloads.empty() && jobs.empty() && calls.empty(); }

  template <class List, class Item>
  bool post(List Mailbox::* list, Item item) {
    {
      const std::lock_guard lock(mutex);
      if (closed) return false;
      (this->*list).push_back(std::move(item));
      if (idle) board.beat();
      idle = false;
    }
    wake.notify_one();
    return true;
  }

  /// Runs `task` on the worker thread and waits for its result or exception.
  template <class Result>
  Result call(std::function<Result(EngineLoop&)> task) {
    auto result = std::make_shared<std::promise<Result>>();
    auto future = result->get_future();
    const bool posted = post(&Mailbox::calls, Call([result, task = std::move(task)](EngineLoop& loop) {
      try {
        result->set_value(task(loop));
      } catch (...) {
        result->set_exception(std::current_exception());
      }
    }));
    if (!posted) throw Error(ErrorKind::unavailable, "the engine is shutting down");
    return future.get();
  }

  /// Waits for a message while the worker is idle; after `patience` calls `tidy` once, unlocked. Worker thread; `lock`
  /// holds the mutex.
  void rest(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds patience, const std::function<void()>& tidy) {
    const auto posted = [&] { return !empty() || closed; };
    if (posted()) return;
    idle = true;
    board.rest();
    if (!wake.wait_for(lock, patience, posted)) {
      lock.unlock();
      tidy();
      lock.lock();
      wake.wait(lock, posted);
    }
    idle = false;
  }

 private:
  bool idle = false;  // the worker waits and nothing was posted since
};

}  // namespace mlxk
