#include "policy/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "base/error.h"
#include "policy/nvml.h"

#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

namespace mlxk {

namespace {

namespace fs = std::filesystem;

/// An integer that ends at a space or the end; nullopt for anything else ("max").
std::optional<uint64_t> parse_bytes(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || (end != text.data() + text.size() && *end != ' ' && *end != '\n')) return std::nullopt;
  return value;
}

std::optional<uint64_t> read_bytes(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return parse_bytes(line);
}

/// The number after `key` in a file of lines "key value" (/proc/meminfo, memory.stat).
std::optional<uint64_t> read_field(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view(line).starts_with(key)) continue;
    const std::string_view rest = std::string_view(line).substr(key.size());
    const size_t digits = rest.find_first_not_of(" \t");
    if (digits > 0 && digits != std::string_view::npos) return parse_bytes(rest.substr(digits));
  }
  return std::nullopt;
}

/// The smaller of two sizes, of which 0 means unknown.
uint64_t tighter(uint64_t a, uint64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

/// The names of one cgroup version's files.
struct CgroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  // field of memory.stat: page cache, which is reclaimed under pressure
};
constexpr CgroupFiles kV2{"memory.max", "memory.current", "inactive_file"};
constexpr CgroupFiles kV1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

/// Every level counts: a parent's limit may be lower than its child's.
void walk_up(const fs::path& mount, const fs::path& group, const CgroupFiles& files, Memory& result) {
  // A group above our namespace ("/../..") cannot be seen; in a container its path may also be the host's. Missing
  // groups are skipped.
  fs::path relative = group.relative_path().lexically_normal();
  if (!relative.empty() && *relative.begin() == "..") relative.clear();
  for (;; relative = relative.parent_path()) {
    const fs::path dir = mount / relative;
    const auto limit = read_bytes(dir / files.limit);
    const auto usage = read_bytes(dir / files.usage);
    if (limit) result.total = tighter(result.total, *limit);
    if (limit && usage) {
      const uint64_t used = *usage - std::min(*usage, read_field(dir / "memory.stat", files.reclaimable).value_or(0));
      // At least 1: a full group is known to have no room.
      result.free = tighter(result.free, *limit > used ? *limit - used : 1);
    }
    if (relative.empty()) return;
  }
}

}  // namespace

Memory cgroup_memory(const fs::path& root) {
  Memory result;
  std::ifstream file(root / "proc/self/cgroup");
  // Lines are "hierarchy:controllers:path"; v2's has no controllers.
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    const fs::path mount = root / "sys/fs/cgroup";
    if (controllers == ",,") {
      walk_up(mount, group, kV2, result);
    } else if (controllers.find(",memory,") != std::string::npos) {
      walk_up(mount / "memory", group, kV1, result);
    }
  }
  return result;
}

#ifdef __APPLE__
Memory system_memory(const fs::path&) {
  Memory memory;
  size_t size = sizeof(memory.total);
  sysctlbyname("hw.memsize", &memory.total, &size, nullptr, 0);
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count) ==
      KERN_SUCCESS) {
    memory.free = (uint64_t{pages.free_count} + pages.inactive_count + pages.purgeable_count) * vm_page_size;
  }
  return memory;
}
#else
Memory system_memory(const fs::path& root) {
  const fs::path path = root / "proc/meminfo";
  return {read_field(path, "MemTotal:").value_or(0) * 1024, read_field(path, "MemAvailable:").value_or(0) * 1024};
}
#endif

Memory address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const uint64_t used = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return {limit.rlim_cur, limit.rlim_cur > used ? limit.rlim_cur - used : 1};  // 1: known to have no room
}

Machine read_machine(const MachineSources& sources) {
  Machine machine;
  if (sources.gpu) {
    machine = {sources.gpu->total, sources.gpu->free, "GPU"};
  } else {
    const Memory system = system_memory(sources.root), cgroup = cgroup_memory(sources.root);
    machine = {tighter(tighter(system.total, cgroup.total), sources.address_space.total),
               tighter(tighter(system.free, cgroup.free), sources.address_space.free), "system"};
  }
  if (sources.limit) {
    const auto limit = parse_bytes(*sources.limit);
    if (!limit || *limit == 0 || sources.limit->find_first_not_of("0123456789") != std::string::npos) {
      throw Error(ErrorKind::usage,
                  fmt::format("MLXK_MEMORY_LIMIT must be a number of bytes above 0, got '{}'", *sources.limit));
    }
    machine.memory_bytes = *limit;
    machine.free_bytes = tighter(machine.free_bytes, *limit);
  }
  return machine;
}

Machine this_machine() {
  MachineSources sources;
  if (std::string_view(MLXK_BACKEND) == "cuda") sources.gpu = nvml_memory();
  if (const char* limit = std::getenv("MLXK_MEMORY_LIMIT")) sources.limit = limit;
  sources.address_space = address_space();
  return read_machine(sources);
}

}  // namespace mlxk
