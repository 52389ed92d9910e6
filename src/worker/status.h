#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "worker/backend.h"

namespace mlxk {

/// One loaded model, as the worker last saw it.
struct ModelStatus {
  uint64_t id = 0;  // ModelHandle::id()
  size_t running = 0, waiting = 0;
  uint64_t kv_bytes = 0;            // admitted for what runs, at most
  double prefill_tokens_per_s = 0;  // of one request; 0: not measured yet
  double decode_tokens_per_s = 0;   // of one request, beside the others; 0: not measured yet
  CacheFacts cache;                 // some second old
};

/// A load or conversion under way.
struct LoadStatus {
  std::filesystem::path path;
  double seconds = 0;           // since it began
  int64_t done = 0, total = 0;  // as its last progress said
};

/// How the worker is.
struct WorkerStatus {
  double since_turn_s = 0;  // since the loop last turned, or a load told its progress; 0 while there is nothing to do
  double busy_s = 0;        // since there was last nothing to do; 0: now
  std::optional<LoadStatus> loading;
  size_t running = 0, waiting = 0;  // requests, those not yet looked at among the waiting
  uint64_t tokens = 0;              // generated since the start
  uint64_t prompt_tokens = 0;       // of requests that ended, computed (not from a cache) since the start
  uint64_t cached_tokens = 0;       // of requests that ended, taken from a cache since the start
  uint64_t ended = 0;               // requests that ran and ended
  uint64_t refused = 0;             // requests that never ran: no place, no memory, no time
  double tokens_per_s = 0;          // generated in the last ten seconds
  std::vector<ModelStatus> models;
};

}  // namespace mlxk
