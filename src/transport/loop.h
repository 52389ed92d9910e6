#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "transport/asio.h"

namespace mlxk {

/// The I/O thread's queue. Pending answers keep it alive beyond their server; then nothing is run any more.
class Loop {
 public:
  asio::io_context& io() { return io_; }
  /// Runs `task` on the I/O thread, after those posted before; drops it once stopped. Any thread.
  void post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (!stopped_) asio::post(io_, std::move(task));
  }
  /// Runs the remaining tasks and accepts no more. Call it after the I/O thread has ended.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    io_.restart();
    io_.poll();
  }
  /// Whether later answers say "Connection: close". Any thread.
  std::atomic<bool> draining{false};

 private:
  asio::io_context io_{1};
  std::mutex mutex_;
  bool stopped_ = false;
};

}  // namespace mlxk
