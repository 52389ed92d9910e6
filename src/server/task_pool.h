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

/// Whose turn a task takes, and whether it may take long.
struct TaskTurn {
  std::string scope;
  bool large = false;
};

/// A few threads that run tasks in the order they came within a scope, the scopes in turn. Of large tasks no more run
/// at once than half of the threads, so that others find one free. Any thread.
class TaskPool {
 public:
  explicit TaskPool(int threads);
  ~TaskPool() { close(); }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  /// Runs `task` later; it must not throw.
  void run(std::function<void()> task, TaskTurn turn = {});
  /// Drops what has not begun, waits for what has, and takes no more. Not from a task.
  void close();
  /// Tasks that have not begun.
  size_t waiting() const;
  /// How long the task that began first has been running; 0 where none runs.
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
  std::list<Scope> scopes_;  // the one whose turn it is first
  size_t waiting_ = 0, large_running_ = 0, large_limit_;
  std::vector<std::optional<Clock::time_point>> begun_;  // of each thread's task
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

/// A thread that calls functions every so often. Any thread.
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
