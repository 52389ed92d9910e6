#pragma once

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <vector>

#include "worker/status.h"
#include "worker/throughput_estimate.h"

namespace mlxk {

/// Where the worker's thread writes how it is, and any thread reads it: never locked for longer than a copy takes.
class StatusBoard {
 public:
  using Clock = std::chrono::steady_clock;

  /// There is something to do, or the loop has turned.
  void beat();
  /// There is nothing to do.
  void rest();
  void load_begins(const std::filesystem::path& path);
  void load_progress(int64_t done, int64_t total);
  void load_ends();
  /// The counters and models of `status`, and the tokens generated lately; the rest of `status` is not looked at.
  void publish(const WorkerStatus& status, const RateMeter& tokens);

  WorkerStatus read() const;

 private:
  struct Load {
    LoadStatus status;
    Clock::time_point since;
  };
  mutable std::mutex mutex_;
  WorkerStatus status_;
  RateMeter tokens_;
  std::optional<Clock::time_point> busy_since_;
  Clock::time_point last_turn_;
  std::optional<Load> load_;
};

}  // namespace mlxk
