#include "report/memory_window.h"

#include <algorithm>
#include <cmath>

namespace mlxk {

namespace {
constexpr double kGpuWorks = 10;  // percent
}

MemoryWindow memory_window(const MemoryLog& log, double start, double end) {
  MemoryWindow window;
  double gpu_sum = 0;
  size_t gpu_count = 0;
  auto at = std::lower_bound(log.clock.begin(), log.clock.end(), std::pair(start, size_t{0}));
  for (; at != log.clock.end() && at->first <= end; ++at) {
    const MemorySample& sample = log.samples[at->second];
    const double gpu = sample.gpu_device_util;
    ++window.samples;
    window.ram_free_min_gb = std::fmin(window.ram_free_min_gb, sample.ram_free_gb);  // fmin and fmax ignore NaN
    window.gpu_max = std::fmax(window.gpu_max, gpu);
    if (std::isnan(gpu)) continue;
    gpu_sum += gpu;
    ++gpu_count;
    if (std::isnan(window.gpu_start_s) && gpu >= kGpuWorks) window.gpu_start_s = sample.ts - start;
  }
  if (gpu_count > 0) window.gpu_mean = gpu_sum / static_cast<double>(gpu_count);
  return window;
}

}  // namespace mlxk
