#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mlxk {

/// A few threads that run tasks in the order they came. Any thread.
class TaskPool {
 public:
  explicit TaskPool(int threads);
  ~TaskPool() { close(); }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  /// Runs `task` later; it must not throw.
  void run(std::function<void()> task);
  /// Drops what has not begun, waits for what has, and takes no more. Not from a task.
  void close();
  /// Tasks that have not begun.
  size_t waiting() const;

 private:
  void work();

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::function<void()>> tasks_;
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
