#pragma once

#include <filesystem>
#include <memory>

#include "monitor/memory_sample.h"

namespace mlxk {

/// Reads memory, swap, pressure, load and CPU usage of this machine, within the limits of its cgroup. Not thread-safe.
class SystemSampler {
 public:
  /// `root` is the folder that contains proc/ and sys/ (Linux).
  explicit SystemSampler(const std::filesystem::path& root = "/");
  ~SystemSampler();
  /// Sets the fields of `sample` that it can measure; cpu_* cover the time since the previous call.
  void read(MemorySample& sample);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads every GPU known to the driver: NVML on Linux, IOKit on macOS. Not thread-safe.
class GpuSampler {
 public:
  GpuSampler();
  ~GpuSampler();
  /// Sets `gpus` and the gpu_* fields of `sample`: the utilisation of the busiest GPU and the memory of all GPUs.
  void read(MemorySample& sample);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// memory_pressure (1, 2, 4) from Linux's pressure stall information: critical if lack of memory stalled all tasks for
/// 10 % of the last 10 s (full), warning if it stalled some.
double pressure_level(double some_avg10, double full_avg10);

}  // namespace mlxk
