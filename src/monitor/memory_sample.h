#pragma once

#include <limits>
#include <string>
#include <vector>

namespace mlxk {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// The state of one GPU at one moment; NaN: unknown.
struct GpuSample {
  double util = kUnknown;         // percent of the time that a kernel ran
  double memory_util = kUnknown;  // percent of the time that its memory was read or written
  double memory_used_gb = kUnknown, memory_total_gb = kUnknown;
};

/// The state of the machine at one moment: a line of MEMORY.jsonl, with the field names as keys. NaN: unknown. GB are
/// 1024³ bytes, MB 1024². The fields up to gpu_tiler_util are those of MLX Knife's memmon.
struct MemorySample {
  double ts = kUnknown;         // seconds since 1970, by the system's clock
  double elapsed_s = kUnknown;  // since the start, by a clock that does not jump
  double ram_free_gb = kUnknown, ram_used_gb = kUnknown, ram_percent = kUnknown;
  double swap_used_mb = kUnknown, swap_percent = kUnknown;
  double memory_pressure = kUnknown;  // 1 normal, 2 warning, 4 critical
  double vm_pressure = kUnknown;      // the same, as 0, 1, 4
  double load_1 = kUnknown, load_5 = kUnknown, load_15 = kUnknown;
  double cpu_user = 0, cpu_sys = 0, cpu_idle = 0;  // percent of all cores since the last sample; 0 in the first
  double gpu_device_util = 0, gpu_renderer_util = 0, gpu_tiler_util = 0;  // percent

  double ram_total_gb = kUnknown;                                    // within the cgroup's limit
  double ram_unused_gb = kUnknown;                                   // free pages only
  double psi_some_avg10 = kUnknown, psi_full_avg10 = kUnknown;       // percent of the last 10 s
  double psi_some_total_s = kUnknown, psi_full_total_s = kUnknown;   // since the system's start
  double cgroup_used_gb = kUnknown, cgroup_limit_gb = kUnknown;      // memory.current, memory.max
  double cgroup_high_gb = kUnknown, cgroup_swap_used_mb = kUnknown;  // memory.high, memory.swap.current
  double cgroup_events_high = kUnknown, cgroup_events_max = kUnknown;
  double cgroup_events_oom = kUnknown, cgroup_events_oom_kill = kUnknown;
  double process_count = kUnknown, process_rss_gb = kUnknown;  // of the command and its descendants
  double process_pss_gb = kUnknown;                            // if measured
  double process_read_mb = kUnknown;                           // read from disks since the start
  double gpu_memory_used_gb = kUnknown, gpu_memory_total_gb = kUnknown;
  std::vector<GpuSample> gpus;
};

/// A numeric field of a sample: its key and the number of decimals written.
struct SampleField {
  const char* name;
  double MemorySample::* value;
  int decimals;
  bool always;  // true: an unknown value is written as null; false: it is omitted
};

/// Every numeric field of a line, in the order in which they are written.
const std::vector<SampleField>& sample_fields();

/// The JSON object of `sample`, as one line without a line end.
std::string sample_line(const MemorySample& sample);

}  // namespace mlxk
