#pragma once

#include <filesystem>
#include <memory>

#include "monitor/memory_sample.h"

namespace mlxk {

/// Reads memory, swap, pressure, load and processors of this machine, within the limits of its cgroup. One thread.
class SystemSampler {
 public:
  /// `root`: proc/ and sys/ lie below it (Linux).
  explicit SystemSampler(const std::filesystem::path& root = "/");
  ~SystemSampler();
  /// Fills what it knows of `sample`; cpu_* are those since the call before.
  void read(MemorySample& sample);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads every GPU that the driver knows: NVML on Linux, IOKit on macOS. One thread.
class GpuSampler {
 public:
  GpuSampler();
  ~GpuSampler();
  /// Fills the gpu_* of `sample` and `gpus`: utilisation is that of the busiest, memory that of all.
  void read(MemorySample& sample);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// memory_pressure (1, 2, 4) by Linux's pressure stall figures: critical where for 10 % of the last 10 s no task could
/// run for want of memory (full), warning where some could not.
double pressure_level(double some_avg10, double full_avg10);

}  // namespace mlxk
