#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mlxk {

/// The scope of a task, and whether it may take long.
struct TaskTurn {
  std::string scope;
  bool large = false;
};

/// A few threads that run tasks in the order of arrival within a scope, the scopes in turn. Large tasks use at most
/// half of the threads, so that others find one free. Any thread.
class TaskPool {
 public:
  explicit TaskPool(int threads);
  ~TaskPool() { close(); }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  /// Queues `task`, which must not throw.
  void run(std::function<void()> task, TaskTurn turn = {});
  /// Drops queued tasks, waits for running ones, and accepts no more. Not from a task.
  void close();
  /// The number of queued tasks.
  size_t waiting() const;
  /// The time that the oldest running task has taken so far; 0: none runs.
  std::chrono::duration<double> longest() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Task {
    std::function<void()> run;
    bool large;
  };
  struct Scope {
    std::string name;
    std::deque<Task> tasks;  // not empty
  };

  void work(size_t thread);
  std::optional<Task> next();

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::list<Scope> scopes_;  // the next in turn first
  size_t waiting_ = 0, large_running_ = 0, large_limit_;
  std::vector<std::optional<Clock::time_point>> begun_;  // of each thread's task
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// A thread that calls functions periodically. Any thread.
class Ticker {
 public:
  explicit Ticker(std::chrono::milliseconds period);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  /// Calls `tick` each period until it returns false; it must not block or throw.
  void add(std::function<bool()> tick);

 private:
  void work(std::chrono::milliseconds period);

  std::mutex mutex_;
  std::condition_variable closing_;
  std::vector<std::function<bool()>> added_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace mlxk
