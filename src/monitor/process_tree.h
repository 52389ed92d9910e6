#pragma once

#include <sys/types.h>

#include <filesystem>
#include <vector>

#include "monitor/memory_sample.h"

namespace mlxk {

/// Measures the descendants of a process. Not thread-safe.
class ProcessTree {
 public:
  /// `root` is the folder that contains proc/ (Linux).
  explicit ProcessTree(pid_t parent, std::filesystem::path root = "/");
  /// Sets the process_* fields of `sample` to the sums over the descendants of `parent`, without `parent` itself. The
  /// list of descendants is updated once a second. Measuring PSS makes the kernel walk all pages: it is done at most
  /// once a second, and rarely enough to use no more than a thousandth of the time.
  void read(MemorySample& sample);

 private:
  pid_t parent_;
  std::filesystem::path root_;
  std::vector<pid_t> pids_;
  double next_search_ = 0, next_pss_ = 0;  // in terms of elapsed_s
  double read_mb_ = 0;
};

}  // namespace mlxk
