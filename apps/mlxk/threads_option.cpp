#include "threads_option.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

namespace mlxk {

namespace {
constexpr int kMaxThreads = 256;  // as kernels/threads.cpp

int usable_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
#endif
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
}
}  // namespace

Option threads_option() {
  return {.name = "--threads", .kind = OptionKind::integer, .metavar = "N",
          .help = "threads of the CPU engine; by default the cores that the process may use", .env = "MLXK_THREADS",
          .min = 1, .max = kMaxThreads};
}

int apply_threads(const Args& args) {
  if (!args.has("--threads")) return usable_cores();
  const auto threads = static_cast<int>(args.integer("--threads"));
  setenv("MLXK_THREADS", std::to_string(threads).c_str(), 1);
  return threads;
}

}  // namespace mlxk
