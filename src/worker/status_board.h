#pragma once

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <vector>

#include "worker/status.h"
#include "worker/throughput_estimate.h"

namespace mlxk {

/// The worker's state, written by its thread and read by any: never locked for longer than a copy takes.
class StatusBoard {
 public:
  using Clock = std::chrono::steady_clock;

  /// Records that there is work, or that the loop has iterated.
  void beat();
  /// Records that the worker is idle.
  void rest();
  void load_begins(const std::filesystem::path& path);
  void load_progress(int64_t done, int64_t total);
  void load_ends();
  /// Publishes the counters and models of `status` and the recent token rate; the other fields are ignored.
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
