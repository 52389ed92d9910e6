#include "base/cores.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace mlxk {

namespace fs = std::filesystem;

namespace {

/// The first word of a file as a number; 0 if it is none, as in "max".
double number_in(const fs::path& file) {
  double value = 0;
  std::ifstream(file) >> value;
  return value;
}

/// The cores that one group's quota allows; 0: any number.
double quota(const fs::path& group) {
  double allowed = 0, period = 0;  // v2: "max 100000" or "150000 100000"
  if (std::ifstream(group / "cpu.max") >> allowed >> period && period > 0) return allowed / period;
  allowed = number_in(group / "cpu.cfs_quota_us");  // v1: -1 is none
  period = number_in(group / "cpu.cfs_period_us");
  return allowed > 0 && period > 0 ? allowed / period : 0;
}

int affinity() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int cgroup_cores(const fs::path& root) {
  int least = 0;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b", or "4:cpu,cpuacct:/a/b"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
    const fs::path top = root / "sys/fs/cgroup" / (controllers == ",," ? "" : "cpu");
    // Inside a container the path is often hidden; the files of the group are then at the top.
    fs::path inner = fs::path(line.substr(second + 1)).relative_path();
    while (true) {
      const double cores = quota(inner.empty() ? top : top / inner);
      const int whole = static_cast<int>(std::min<double>(kMaxThreads, cores));
      const int rounded = whole + (cores > whole ? 1 : 0);
      if (cores > 0 && (least == 0 || rounded < least)) least = rounded;
      if (inner.empty()) break;
      inner = inner.parent_path();
    }
  }
  return least;
}

int usable_cores(const fs::path& root) {
  const int quota = cgroup_cores(root);
  const int cores = std::clamp(affinity(), 1, kMaxThreads);
  return quota > 0 ? std::min(cores, quota) : cores;
}

}  // namespace mlxk
