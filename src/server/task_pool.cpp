#include "server/task_pool.h"

#include <iterator>

namespace mlxk {

TaskPool::TaskPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

void TaskPool::close() {
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(tasks_);
  }
  filled_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void TaskPool::run(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    tasks_.push_back(std::move(task));
  }
  filled_.notify_one();
}

size_t TaskPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return tasks_.size();
}

void TaskPool::work() {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
      if (closed_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

Ticker::Ticker(std::chrono::milliseconds period) : thread_([this, period] { work(period); }) {}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  closing_.notify_one();
  thread_.join();
}

void Ticker::add(std::function<bool()> tick) {
  const std::lock_guard lock(mutex_);
  added_.push_back(std::move(tick));
}

void Ticker::work(std::chrono::milliseconds period) {
  std::vector<std::function<bool()>> ticks;  // called without the lock: they may take others
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (closing_.wait_for(lock, period, [this] { return closed_; })) return;
      std::move(added_.begin(), added_.end(), std::back_inserter(ticks));
      added_.clear();
    }
    std::erase_if(ticks, [](const auto& tick) { return !tick(); });
  }
}

}  // namespace mlxk
