#ifndef __APPLE__
#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <vector>

#include "monitor/proc_file.h"
#include "monitor/system_sampler.h"
#include "policy/machine.h"
#include "policy/nvml_library.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

/// The folder of this process's cgroup v2; empty if it has none.
fs::path own_cgroup(const fs::path& root) {
  std::istringstream groups(read_proc_file(root / "proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    if (line.rfind("0::", 0) == 0) return root / "sys/fs/cgroup" / fs::path(line.substr(3)).relative_path();
  }
  return {};
}

/// Ticks of all cores since boot: the first line of /proc/stat.
struct CpuTicks {
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  double busy_user() const { return user + nice; }
  double busy_system() const { return system + irq + softirq + steal; }
  double at_rest() const { return idle + iowait; }
};

std::optional<CpuTicks> read_ticks(const std::string& text) {
  std::istringstream fields(text.substr(0, text.find('\n')));
  std::string name;
  CpuTicks ticks;
  if (!(fields >> name >> ticks.user >> ticks.nice >> ticks.system >> ticks.idle) || name != "cpu") return {};
  fields >> ticks.iowait >> ticks.irq >> ticks.softirq >> ticks.steal;
  return ticks;
}

/// A line of a pressure file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
struct Stall {
  double avg10 = kUnknown, total_us = kUnknown;
};
Stall read_stall(const std::string& text, std::string_view kind) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(kind, 0) == 0) return {proc_field(line, "avg10="), proc_field(line, "total=")};
  }
  return {};
}
}  // namespace

struct SystemSampler::State {
  explicit State(const fs::path& at)
      : root(at),
        cgroup(own_cgroup(at)),
        meminfo(at / "proc/meminfo"),
        stat(at / "proc/stat"),
        loadavg(at / "proc/loadavg"),
        pressure(at / "proc/pressure/memory"),
        cgroup_pressure(cgroup / "memory.pressure"),
        has_cgroup(!cgroup.empty() && fs::exists(cgroup / "memory.current")) {}

  fs::path root, cgroup;
  ProcFile meminfo, stat, loadavg, pressure, cgroup_pressure;
  bool has_cgroup;
  std::optional<CpuTicks> ticks;
  double user = 0, system = 0, idle = 0;  // percent, as last measured

  void read_memory(MemorySample& sample) {
    const std::string text = meminfo.read();
    const double total = proc_field(text, "MemTotal:") * 1024, available = proc_field(text, "MemAvailable:") * 1024;
    const Memory limit = cgroup_memory(root);
    const auto within = [](double bytes, uint64_t most) {
      return (most > 0 ? std::fmin(bytes, static_cast<double>(most)) : bytes) / kBytesPerGb;
    };
    sample.ram_total_gb = within(total, limit.total);
    sample.ram_free_gb = within(available, limit.free);
    sample.ram_unused_gb = proc_field(text, "MemFree:") * 1024 / kBytesPerGb;
    sample.ram_used_gb = sample.ram_total_gb - sample.ram_free_gb;
    sample.ram_percent = 100 * sample.ram_used_gb / sample.ram_total_gb;
    const double swap = proc_field(text, "SwapTotal:"), free = proc_field(text, "SwapFree:");
    sample.swap_used_mb = (swap - free) / 1024;
    sample.swap_percent = swap > 0 ? 100 * (swap - free) / swap : 0;
  }

  void read_pressure(MemorySample& sample) {
    Stall some, full;
    for (const ProcFile* file : {&pressure, &cgroup_pressure}) {
      const std::string text = file->read();
      const Stall s = read_stall(text, "some"), f = read_stall(text, "full");
      // fmax and fmin ignore NaN. The worse of machine and cgroup is used.
      some = {std::fmax(some.avg10, s.avg10), std::fmax(some.total_us, s.total_us)};
      full = {std::fmax(full.avg10, f.avg10), std::fmax(full.total_us, f.total_us)};
    }
    sample.psi_some_avg10 = some.avg10;
    sample.psi_full_avg10 = full.avg10;
    sample.psi_some_total_s = some.total_us / 1e6;
    sample.psi_full_total_s = full.total_us / 1e6;
    sample.memory_pressure = pressure_level(some.avg10, full.avg10);
    sample.vm_pressure = sample.memory_pressure == 1   ? 0
                         : sample.memory_pressure == 2 ? 1
                                                       : sample.memory_pressure;  // 4, or unknown
  }

  void read_cgroup(MemorySample& sample) const {
    if (!has_cgroup) return;
    const auto number = [this](const char* name) { return proc_field(read_proc_file(cgroup / name), ""); };
    sample.cgroup_used_gb = number("memory.current") / kBytesPerGb;
    sample.cgroup_limit_gb = number("memory.max") / kBytesPerGb;
    sample.cgroup_high_gb = number("memory.high") / kBytesPerGb;
    sample.cgroup_swap_used_mb = number("memory.swap.current") / kBytesPerMb;
    const std::string events = read_proc_file(cgroup / "memory.events");
    sample.cgroup_events_high = proc_field(events, "high ");
    sample.cgroup_events_max = proc_field(events, "max ");
    sample.cgroup_events_oom = proc_field(events, "oom ");
    sample.cgroup_events_oom_kill = proc_field(events, "oom_kill ");
  }

  void read_cpu(MemorySample& sample) {
    const auto now = read_ticks(stat.read());
    if (now && ticks) {
      const double user_ticks = now->busy_user() - ticks->busy_user();
      const double system_ticks = now->busy_system() - ticks->busy_system();
      const double idle_ticks = std::max(0.0, now->at_rest() - ticks->at_rest());  // iowait may decrease
      // A tick is 10 ms: if none has passed, the last values are kept.
      if (const double all = user_ticks + system_ticks + idle_ticks; all > 0) {
        user = 100 * user_ticks / all;
        system = 100 * system_ticks / all;
        idle = 100 * idle_ticks / all;
      }
    }
    if (now) ticks = now;
    sample.cpu_user = user;
    sample.cpu_sys = system;
    sample.cpu_idle = idle;
  }
};

SystemSampler::SystemSampler(const fs::path& root) : state_(std::make_unique<State>(root)) {}
SystemSampler::~SystemSampler() = default;

void SystemSampler::read(MemorySample& sample) {
  state_->read_memory(sample);
  state_->read_pressure(sample);
  state_->read_cgroup(sample);
  state_->read_cpu(sample);
  std::istringstream(state_->loadavg.read()) >> sample.load_1 >> sample.load_5 >> sample.load_15;
}

struct GpuSampler::State {
  NvmlLibrary nvml;
  std::vector<NvmlLibrary::Device> devices;
  bool started = false;
};

GpuSampler::GpuSampler() : state_(std::make_unique<State>()) {
  const NvmlLibrary& nvml = state_->nvml;
  unsigned count = 0;
  state_->started = nvml.call("nvmlInit_v2");
  if (!state_->started || !nvml.call("nvmlDeviceGetCount_v2", &count)) return;
  for (unsigned i = 0; i < count; ++i) {
    NvmlLibrary::Device device = nullptr;
    if (nvml.call("nvmlDeviceGetHandleByIndex_v2", i, &device)) state_->devices.push_back(device);
  }
}

GpuSampler::~GpuSampler() {
  if (state_->started) state_->nvml.call("nvmlShutdown");
}

void GpuSampler::read(MemorySample& sample) {
  const NvmlLibrary& nvml = state_->nvml;
  for (const auto device : state_->devices) {
    GpuSample gpu;
    NvmlLibrary::Utilization util{};
    NvmlLibrary::DeviceMemory memory{};
    if (nvml.call("nvmlDeviceGetUtilizationRates", device, &util)) {
      gpu.util = util.gpu;
      gpu.memory_util = util.memory;
      sample.gpu_device_util = std::max(sample.gpu_device_util, gpu.util);
      sample.gpu_renderer_util = sample.gpu_device_util;  // NVML reports one utilisation for both
    }
    if (nvml.call("nvmlDeviceGetMemoryInfo", device, &memory)) {
      gpu.memory_used_gb = static_cast<double>(memory.used) / kBytesPerGb;
      gpu.memory_total_gb = static_cast<double>(memory.total) / kBytesPerGb;
      sample.gpu_memory_used_gb = gpu.memory_used_gb + (sample.gpus.empty() ? 0 : sample.gpu_memory_used_gb);
      sample.gpu_memory_total_gb = gpu.memory_total_gb + (sample.gpus.empty() ? 0 : sample.gpu_memory_total_gb);
    }
    sample.gpus.push_back(gpu);
  }
}

}  // namespace mlxk
#endif
