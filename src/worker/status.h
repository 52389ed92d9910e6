#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "worker/facts.h"

namespace mlxk {

/// A loaded model, as last published by the worker.
struct ModelStatus {
  uint64_t id = 0;  // ModelHandle::id()
  size_t running = 0, waiting = 0;
  uint64_t kv_bytes = 0;            // admitted for running requests
  double prefill_tokens_per_s = 0;  // of one request; 0: not measured yet
  double decode_tokens_per_s = 0;   // of one request, among the others; 0: not measured yet
  CacheFacts cache;                 // about a second old
};

/// A load or conversion in progress.
struct LoadStatus {
  std::filesystem::path path;
  double seconds = 0;           // since its start
  int64_t done = 0, total = 0;  // of the last progress report
};

/// The state of the worker.
struct WorkerStatus {
  double since_turn_s = 0;  // since the loop's last iteration, or a load's last progress; 0 while idle
  double busy_s = 0;        // since the worker was last idle; 0: idle now
  std::optional<LoadStatus> loading;
  size_t running = 0, waiting = 0;  // requests; `waiting` includes those still in the mailbox
  uint64_t tokens = 0;              // generated since the start
  uint64_t prompt_tokens = 0;       // of requests that ended, computed (not from a cache) since the start
  uint64_t cached_tokens = 0;       // of requests that ended, taken from a cache since the start
  uint64_t ended = 0;               // requests that ran and ended
  uint64_t refused = 0;             // requests that never ran: queue full, too large, too late
  double tokens_per_s = 0;          // generated in the last ten seconds
  std::vector<ModelStatus> models;
};

}  // namespace mlxk
