#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "monitor/memory_sample.h"

namespace mlxk {

/// Measures a process and its descendants. One thread.
class ProcessTree {
 public:
  /// `root`: proc/ lies below it (Linux).
  explicit ProcessTree(pid_t parent, std::filesystem::path root = "/");
  /// Fills the process_* of `sample` with the sums over the descendants of `parent`, itself left out. Descendants are
  /// looked for once a second. PSS costs the kernel a walk over the pages: it is measured once a second at most, and
  /// so seldom that it takes a thousandth of the time.
  void read(MemorySample& sample);

 private:
  pid_t parent_;
  std::filesystem::path root_;
  std::vector<pid_t> pids_;
  double next_search_ = 0, next_pss_ = 0;  // by elapsed_s
  double read_mb_ = 0;
};

}  // namespace mlxk
