#pragma once

#include <cstddef>

#include "monitor/memory_log.h"

namespace mlxk {

/// A summary of the samples of a memory log in a time span.
struct MemoryWindow {
  size_t samples = 0;
  double ram_free_min_gb = kUnknown, gpu_mean = kUnknown, gpu_max = kUnknown;
  double gpu_start_s = kUnknown;  // from the start until the GPU is first busy; NaN: never
};

/// Summarises the samples with a ts from `start` to `end`, in Unix time.
MemoryWindow memory_window(const MemoryLog& log, double start, double end);

}  // namespace mlxk
