#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace mlxk {

/// The limits of a worker. The defaults set none.
struct WorkerLimits {
  size_t max_running = std::numeric_limits<size_t>::max();   // requests that run at once on one model; at least 1
  size_t max_waiting = std::numeric_limits<size_t>::max();   // requests that wait for that, on all models together
  uint64_t kv_bytes = std::numeric_limits<uint64_t>::max();  // keys and values of all that run, and their media
  std::chrono::milliseconds rest_after{2000};                // idle time after which Backend::rest is called
};

}  // namespace mlxk
