#include "monitor/memory_sample.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace mlxk {

const std::vector<SampleField>& sample_fields() {
  using S = MemorySample;
  static const std::vector<SampleField> fields = {
      {"ts", &S::ts, 3, true},
      {"elapsed_s", &S::elapsed_s, 3, true},
      {"ram_free_gb", &S::ram_free_gb, 3, true},
      {"ram_used_gb", &S::ram_used_gb, 3, true},
      {"ram_percent", &S::ram_percent, 1, true},
      {"swap_used_mb", &S::swap_used_mb, 1, true},
      {"swap_percent", &S::swap_percent, 1, true},
      {"memory_pressure", &S::memory_pressure, 0, true},
      {"vm_pressure", &S::vm_pressure, 0, true},
      {"load_1", &S::load_1, 2, true},
      {"load_5", &S::load_5, 2, true},
      {"load_15", &S::load_15, 2, true},
      {"cpu_user", &S::cpu_user, 1, true},
      {"cpu_sys", &S::cpu_sys, 1, true},
      {"cpu_idle", &S::cpu_idle, 1, true},
      {"gpu_device_util", &S::gpu_device_util, 0, true},
      {"gpu_renderer_util", &S::gpu_renderer_util, 0, true},
      {"gpu_tiler_util", &S::gpu_tiler_util, 0, true},
      {"ram_total_gb", &S::ram_total_gb, 3, false},
      {"ram_unused_gb", &S::ram_unused_gb, 3, false},
      {"psi_some_avg10", &S::psi_some_avg10, 2, true},
      {"psi_full_avg10", &S::psi_full_avg10, 2, true},
      {"psi_some_total_s", &S::psi_some_total_s, 6, false},
      {"psi_full_total_s", &S::psi_full_total_s, 6, false},
      {"cgroup_used_gb", &S::cgroup_used_gb, 3, false},
      {"cgroup_limit_gb", &S::cgroup_limit_gb, 3, false},
      {"cgroup_high_gb", &S::cgroup_high_gb, 3, false},
      {"cgroup_swap_used_mb", &S::cgroup_swap_used_mb, 1, false},
      {"cgroup_events_high", &S::cgroup_events_high, 0, false},
      {"cgroup_events_max", &S::cgroup_events_max, 0, false},
      {"cgroup_events_oom", &S::cgroup_events_oom, 0, false},
      {"cgroup_events_oom_kill", &S::cgroup_events_oom_kill, 0, false},
      {"process_count", &S::process_count, 0, false},
      {"process_rss_gb", &S::process_rss_gb, 3, false},
      {"process_pss_gb", &S::process_pss_gb, 3, false},
      {"process_read_mb", &S::process_read_mb, 1, false},
      {"gpu_memory_used_gb", &S::gpu_memory_used_gb, 3, false},
      {"gpu_memory_total_gb", &S::gpu_memory_total_gb, 3, false},
  };
  return fields;
}

std::string sample_line(const MemorySample& sample) {
  std::string line = "{";
  const auto add = [&line](const char* name, double value, int decimals, bool always) {
    if (!std::isfinite(value) && !always) return;
    if (line.back() != '{') line += ',';
    fmt::format_to(std::back_inserter(line), "\"{}\":", name);
    if (std::isfinite(value)) {
      fmt::format_to(std::back_inserter(line), "{:.{}f}", value, decimals);
    } else {
      line += "null";
    }
  };
  for (const auto& field : sample_fields()) {
    add(field.name, sample.*field.value, field.decimals, field.always);
    if (field.value == &MemorySample::cpu_idle) {
      line += fmt::format(",\"gpu_active\":{}", sample.gpu_device_util > 0);
    }
  }
  if (!sample.gpus.empty()) {
    line += ",\"gpus\":[";
    for (const auto& gpu : sample.gpus) {
      if (line.back() != '[') line += ',';
      line += '{';
      add("util", gpu.util, 0, true);
      add("memory_util", gpu.memory_util, 0, true);
      add("memory_used_gb", gpu.memory_used_gb, 3, true);
      add("memory_total_gb", gpu.memory_total_gb, 3, true);
      line += '}';
    }
    line += ']';
  }
  return line + '}';
}

}  // namespace mlxk
