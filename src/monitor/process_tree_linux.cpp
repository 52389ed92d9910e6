#ifndef __APPLE__
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <sstream>

#include "monitor/proc_file.h"
#include "monitor/process_tree.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;
constexpr size_t kMaxProcesses = 10'000;  // bounds the walk if processes fork endlessly

/// The descendants of `parent`, from the kernel's lists of each thread's children.
std::vector<pid_t> descendants(const fs::path& proc, pid_t parent) {
  std::vector<pid_t> found, todo{parent};
  while (!todo.empty() && found.size() < kMaxProcesses) {
    const fs::path tasks = proc / std::to_string(todo.back()) / "task";
    todo.pop_back();
    std::error_code error;
    for (fs::directory_iterator it(tasks, error), end; !error && it != end; it.increment(error)) {
      std::istringstream children(read_proc_file(it->path() / "children"));
      for (pid_t child = 0; children >> child;) {
        found.push_back(child);
        todo.push_back(child);
      }
    }
  }
  return found;
}

/// Processor time of this thread; on a busy machine the wall clock would overstate the cost of a walk.
double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
}  // namespace

ProcessTree::ProcessTree(pid_t parent, fs::path root) : parent_(parent), root_(std::move(root)) {}

void ProcessTree::read(MemorySample& sample) {
  const fs::path proc = root_ / "proc";
  if (sample.elapsed_s >= next_search_) {
    pids_ = descendants(proc, parent_);
    next_search_ = sample.elapsed_s + (pids_.empty() ? 0 : 1);
  }
  const bool measure_pss = !pids_.empty() && sample.elapsed_s >= next_pss_;
  const double start = thread_seconds();
  static const double kPageGb = static_cast<double>(sysconf(_SC_PAGESIZE)) / kBytesPerGb;
  double rss = 0, pss = 0, read_mb = 0;
  size_t living = 0;
  bool has_pss = false;
  for (const pid_t pid : pids_) {
    const fs::path folder = proc / std::to_string(pid);
    const std::string statm = read_proc_file(folder / "statm");
    double pages = 0;
    if (std::istringstream fields(statm); !(fields >> pages >> pages)) continue;
    ++living;
    rss += pages * kPageGb;
    // The count of a process that was waited for is included in that of its parent.
    if (const double bytes = proc_field(read_proc_file(folder / "io"), "read_bytes:"); bytes >= 0) {
      read_mb += bytes / kBytesPerMb;
    }
    if (!measure_pss) continue;
    if (const double kb = proc_field(read_proc_file(folder / "smaps_rollup"), "Pss:"); kb >= 0) {
      pss += kb * 1024 / kBytesPerGb;
      has_pss = true;
    }
  }
  read_mb_ = std::max(read_mb_, read_mb);
  sample.process_count = static_cast<double>(living);
  sample.process_rss_gb = rss;
  sample.process_read_mb = read_mb_;
  if (!measure_pss) return;
  if (has_pss) sample.process_pss_gb = pss;
  next_pss_ = sample.elapsed_s + std::max(1.0, 1000 * (thread_seconds() - start));
}

}  // namespace mlxk
#endif
