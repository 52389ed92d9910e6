// The descendants of a process on macOS, with libproc. Written from the documentation; not run yet.
#ifdef __APPLE__
#include <libproc.h>
#include <sys/resource.h>

#include <algorithm>

#include "monitor/proc_file.h"
#include "monitor/process_tree.h"

namespace mlxk {

namespace {
std::vector<pid_t> descendants(pid_t parent) {
  std::vector<pid_t> found, todo{parent};
  while (!todo.empty()) {
    pid_t children[1024];
    const int count = proc_listchildpids(todo.back(), children, sizeof children);
    todo.pop_back();
    for (int i = 0; i < std::min(count, 1024); ++i) {
      found.push_back(children[i]);
      todo.push_back(children[i]);
    }
  }
  return found;
}
}  // namespace

ProcessTree::ProcessTree(pid_t parent, std::filesystem::path root) : parent_(parent), root_(std::move(root)) {}

void ProcessTree::read(MemorySample& sample) {
  if (sample.elapsed_s >= next_search_) {
    pids_ = descendants(parent_);
    next_search_ = sample.elapsed_s + (pids_.empty() ? 0 : 1);
  }
  double rss = 0, footprint = 0, read_mb = 0;
  size_t living = 0;
  for (const pid_t pid : pids_) {
    rusage_info_v2 usage{};
    if (proc_pid_rusage(pid, RUSAGE_INFO_V2, reinterpret_cast<rusage_info_t*>(&usage)) != 0) continue;
    ++living;
    rss += static_cast<double>(usage.ri_resident_size) / kBytesPerGb;
    footprint += static_cast<double>(usage.ri_phys_footprint) / kBytesPerGb;  // reported as PSS
    read_mb += static_cast<double>(usage.ri_diskio_bytesread) / kBytesPerMb;
  }
  read_mb_ = std::max(read_mb_, read_mb);
  sample.process_count = static_cast<double>(living);
  sample.process_rss_gb = rss;
  sample.process_pss_gb = footprint;
  sample.process_read_mb = read_mb_;
}

}  // namespace mlxk
#endif
