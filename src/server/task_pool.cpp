#include "server/task_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mlxk {

TaskPool::TaskPool(int threads)
    : large_limit_(std::max<size_t>(1, static_cast<size_t>(threads) / 2)), begun_(static_cast<size_t>(threads)) {
  for (size_t i = 0; i < begun_.size(); ++i) threads_.emplace_back([this, i] { work(i); });
}

void TaskPool::close() {
  std::list<Scope> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(scopes_);
    waiting_ = 0;
  }
  filled_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void TaskPool::run(std::function<void()> task, TaskTurn turn) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    auto scope = std::find_if(scopes_.begin(), scopes_.end(), [&](const Scope& one) { return one.name == turn.scope; });
    if (scope == scopes_.end()) scope = scopes_.insert(scopes_.end(), Scope{std::move(turn.scope), {}});
    scope->tasks.push_back({std::move(task), turn.large});
    ++waiting_;
  }
  filled_.notify_one();
}

size_t TaskPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

std::chrono::duration<double> TaskPool::longest() const {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  Clock::time_point first = now;
  for (const auto& begun : begun_) first = std::min(first, begun.value_or(now));
  return now - first;
}

/// Takes the next task that may run now off the queue; its scope goes to the end.
std::optional<TaskPool::Task> TaskPool::next() {
  for (auto scope = scopes_.begin(); scope != scopes_.end(); ++scope) {
    const auto task = std::find_if(scope->tasks.begin(), scope->tasks.end(),
                                   [&](const Task& one) { return !one.large || large_running_ < large_limit_; });
    if (task == scope->tasks.end()) continue;
    Task taken = std::move(*task);
    scope->tasks.erase(task);
    scopes_.splice(scopes_.end(), scopes_, scope);
    if (scope->tasks.empty()) scopes_.erase(scope);
    --waiting_;
    return taken;
  }
  return std::nullopt;
}

void TaskPool::work(size_t thread) {
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<Task> task;
    filled_.wait(lock, [&] { return closed_ || (task = next()); });
    if (!task) return;
    large_running_ += task->large;
    begun_[thread] = Clock::now();
    lock.unlock();
    task->run();
    const bool large = task->large;
    task.reset();  // its captures may take long to free
    lock.lock();
    begun_[thread].reset();
    large_running_ -= large;
    if (large) filled_.notify_one();  // a large task may have been held back
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
  std::vector<std::function<bool()>> ticks;  // called without the lock: they may take other locks
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
