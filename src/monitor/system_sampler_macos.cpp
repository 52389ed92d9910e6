// The sampler for macOS: mach, sysctl and IOKit, without root. Written from the documentation; not run yet.
#ifdef __APPLE__
#include <CoreFoundation/CoreFoundation.h>
#include <IOKit/IOKitLib.h>
#include <mach/mach.h>
#include <sys/sysctl.h>

#include <algorithm>
#include <cstdlib>

#include "monitor/proc_file.h"
#include "monitor/system_sampler.h"
#include "policy/machine.h"

namespace mlxk {

namespace {
template <class T>
bool read_sysctl(const char* name, T& value) {
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0;
}

/// A number from an accelerator's statistics; NaN if it is missing.
double statistic(CFDictionaryRef statistics, CFStringRef name) {
  double value = kUnknown;
  const auto* number = static_cast<CFNumberRef>(CFDictionaryGetValue(statistics, name));
  if (number) CFNumberGetValue(number, kCFNumberDoubleType, &value);
  return value;
}
}  // namespace

struct SystemSampler::State {
  host_cpu_load_info_data_t ticks{};
  bool has_ticks = false;
};

SystemSampler::SystemSampler(const std::filesystem::path&) : state_(std::make_unique<State>()) {}
SystemSampler::~SystemSampler() = default;

void SystemSampler::read(MemorySample& sample) {
  const Memory memory = system_memory("/");
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count);
  sample.ram_total_gb = static_cast<double>(memory.total) / kBytesPerGb;
  sample.ram_unused_gb = static_cast<double>(pages.free_count) * static_cast<double>(vm_page_size) / kBytesPerGb;
  sample.ram_free_gb = sample.ram_unused_gb;  // as in MLX Knife's memmon
  sample.ram_used_gb = sample.ram_total_gb - sample.ram_free_gb;
  sample.ram_percent = 100 * sample.ram_used_gb / sample.ram_total_gb;
  if (xsw_usage swap{}; read_sysctl("vm.swapusage", swap)) {
    sample.swap_used_mb = static_cast<double>(swap.xsu_used) / kBytesPerMb;
    const auto total = static_cast<double>(swap.xsu_total);
    sample.swap_percent = total > 0 ? 100 * static_cast<double>(swap.xsu_used) / total : 0;
  }
  if (int level = 0; read_sysctl("kern.memorystatus_vm_pressure_level", level)) {
    sample.memory_pressure = level;
    sample.vm_pressure = level == 1 ? 0 : level == 2 ? 1 : level;
  }
  double loads[3];
  if (getloadavg(loads, 3) == 3) {
    sample.load_1 = loads[0];
    sample.load_5 = loads[1];
    sample.load_15 = loads[2];
  }
  host_cpu_load_info_data_t ticks{};
  count = HOST_CPU_LOAD_INFO_COUNT;
  if (host_statistics(mach_host_self(), HOST_CPU_LOAD_INFO, reinterpret_cast<host_info_t>(&ticks), &count) !=
      KERN_SUCCESS) {
    return;
  }
  if (state_->has_ticks) {
    const auto since = [&](int kind) {
      return static_cast<double>(ticks.cpu_ticks[kind] - state_->ticks.cpu_ticks[kind]);
    };
    const double user = since(CPU_STATE_USER) + since(CPU_STATE_NICE), system = since(CPU_STATE_SYSTEM);
    const double idle = since(CPU_STATE_IDLE), all = user + system + idle;
    if (all > 0) {
      sample.cpu_user = 100 * user / all;
      sample.cpu_sys = 100 * system / all;
      sample.cpu_idle = 100 * idle / all;
    }
  }
  state_->ticks = ticks;
  state_->has_ticks = true;
}

struct GpuSampler::State {};

GpuSampler::GpuSampler() = default;
GpuSampler::~GpuSampler() = default;

void GpuSampler::read(MemorySample& sample) {
  io_iterator_t accelerators = 0;
  if (IOServiceGetMatchingServices(0, IOServiceMatching("IOAccelerator"), &accelerators) != KERN_SUCCESS) return;
  for (io_object_t one; (one = IOIteratorNext(accelerators)) != 0; IOObjectRelease(one)) {
    auto* statistics = static_cast<CFDictionaryRef>(
        IORegistryEntryCreateCFProperty(one, CFSTR("PerformanceStatistics"), kCFAllocatorDefault, 0));
    if (!statistics) continue;
    const auto raise = [&](double& field, CFStringRef name) {
      if (const double value = statistic(statistics, name); value > field) field = value;
    };
    raise(sample.gpu_device_util, CFSTR("Device Utilization %"));
    raise(sample.gpu_renderer_util, CFSTR("Renderer Utilization %"));
    raise(sample.gpu_tiler_util, CFSTR("Tiler Utilization %"));
    if (const double bytes = statistic(statistics, CFSTR("In use system memory")); bytes >= 0) {
      sample.gpu_memory_used_gb = bytes / kBytesPerGb;
    }
    CFRelease(statistics);
  }
  IOObjectRelease(accelerators);
}

}  // namespace mlxk
#endif
