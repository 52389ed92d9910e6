#include "report/system.h"

#include <sys/utsname.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <charconv>
#include <fstream>

#include "json/member.h"
#include "policy/machine.h"
#include "probe/model_info.h"
#include "report/machine_facts.h"

namespace mlxk {

namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr double kLowMemoryGb = 5, kMuchSwapGb = 0.1;

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

#ifdef __APPLE__
std::string system_text(const char* name) {
  char text[256] = {};
  size_t size = sizeof text - 1;
  return sysctlbyname(name, text, &size, nullptr, 0) == 0 ? text : "";
}

std::optional<int64_t> system_number(const char* name) {
  int number = 0;
  size_t size = sizeof number;
  if (sysctlbyname(name, &number, &size, nullptr, 0) != 0) return std::nullopt;
  return number;
}

std::string system_version() { return "macOS " + system_text("kern.osproductversion"); }
std::string machine_model() { return system_text("hw.model"); }

void read_cores(ReportHardware& hardware) {
  hardware.chip_cores_performance = system_number("hw.perflevel0.physicalcpu");
  hardware.chip_cores_efficiency = system_number("hw.perflevel1.physicalcpu");
}

double used_swap_gb() {
  xsw_usage usage{};
  size_t size = sizeof usage;
  return sysctlbyname("vm.swapusage", &usage, &size, nullptr, 0) == 0 ? static_cast<double>(usage.xsu_used) / kGiB : 0;
}

int64_t count_zombies() { return 0; }  // not counted on macOS
#else
std::string system_version() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string name = line.substr(12);
    std::erase(name, '"');
    return name;
  }
  return {};
}

std::string machine_model() { return first_line("/sys/class/dmi/id/product_name"); }

/// The number of cores in a list of the kernel's format: "0-3,8".
std::optional<int64_t> count_cores(const std::string& list) {
  int64_t count = 0;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    int first = 0, last = 0;
    const char* stop = list.data() + end;
    const char* behind = std::from_chars(list.data() + begin, stop, first).ptr;
    last = first;
    if (behind < stop && *behind == '-') std::from_chars(behind + 1, stop, last);
    count += std::max(0, last - first + 1);
    begin = end + 1;
  }
  return count > 0 ? std::optional(count) : std::nullopt;
}

void read_cores(ReportHardware& hardware) {
  hardware.chip_cores_performance = count_cores(first_line("/sys/devices/cpu_core/cpus"));  // hybrid x86
  hardware.chip_cores_efficiency = count_cores(first_line("/sys/devices/cpu_atom/cpus"));
  if (hardware.chip_cores_performance) return;
  hardware.chip_cores_performance = count_cores(first_line("/sys/devices/system/cpu/online"));
}

double used_swap_gb() {
  std::ifstream file("/proc/meminfo");
  double total = 0, free = 0;
  for (std::string name, unit; file >> name;) {
    double kilobytes = 0;
    if (!(file >> kilobytes)) break;
    std::getline(file, unit);
    if (name == "SwapTotal:") total = kilobytes;
    if (name == "SwapFree:") free = kilobytes;
  }
  return std::max(0.0, total - free) * 1024 / kGiB;
}

/// Whether `stat`, the content of /proc/N/stat, is that of a zombie process of this program: "N (mlxk) Z …".
bool is_zombie(const std::string& stat) {
  const size_t name = stat.find('('), end = stat.rfind(')');
  if (name == std::string::npos || end == std::string::npos || end + 2 >= stat.size()) return false;
  return stat[end + 2] == 'Z' && stat.compare(name + 1, 4, "mlxk") == 0;
}

int64_t count_zombies() {
  int64_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos && is_zombie(first_line(it->path() / "stat")))
      ++count;
  }
  return count;
}
#endif

}  // namespace

ReportSystem this_system(const std::string& mlx_version) {
  utsname name{};
  uname(&name);
  ReportSystem system;
  system.platform = name.sysname;
  for (char& c : system.platform) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  system.platform_version = system_version();
  system.mlx_version = mlx_version;
  const MachineFacts facts = machine_facts();
  constexpr std::string_view kVendor = "Apple ";
  system.hardware = facts.cpu.starts_with(kVendor) ? facts.cpu.substr(kVendor.size()) : facts.cpu;
  system.ram_total_gb = static_cast<double>(facts.memory_bytes) / kGiB;
  system.hardware_profile.model_identifier = machine_model();
  system.hardware_profile.chip = facts.cpu;
  read_cores(system.hardware_profile);
  return system;
}

ReportHealth system_health() {
  ReportHealth health;
  health.swap_gb = used_swap_gb();
  health.ram_free_gb = static_cast<double>(system_memory("/").free) / kGiB;
  health.zombies_detected = count_zombies();
  if (*health.swap_gb > kMuchSwapGb) health.quality_flags.emplace_back("degraded_swap");
  if (*health.zombies_detected > 0) health.quality_flags.emplace_back("degraded_zombies");
  if (*health.ram_free_gb < kLowMemoryGb) health.quality_flags.emplace_back("degraded_memory");
  if (health.quality_flags.empty()) health.quality_flags.emplace_back("clean");
  return health;
}

ReportModel report_model(const ModelInfo& info) {
  ReportModel model;
  model.id = info.ref.display_name.empty() ? info.ref.name : info.ref.display_name;
  model.size_gb = static_cast<double>(info.size_bytes) / 1e9;
  model.family = info.model_type;
  model.variant = info.kind;
  model.framework = info.framework;
  if (!info.quantization.empty()) {
    const Json quantization = parse_json(info.quantization, "quantization");
    const Json& bits = value_at(quantization, "bits");
    if (bits.is_number_integer()) model.quantization = bits.dump() + "bit";
  }
  return model;
}

}  // namespace mlxk
