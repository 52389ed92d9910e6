#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace mlxk {

struct MemmonOptions {
  std::chrono::milliseconds interval{200};
  std::string output;     // MEMORY.jsonl; empty: none
  double duration_s = 0;  // 0: until the command ends
  bool verbose = false;
  std::vector<std::string> command;  // empty: none
};

/// Samples the machine until the command ends, or for `duration_s`. Returns the command's exit code, 127 or 126 if it
/// could not be started, or 128 + N if signal N ended the sampling. The summary goes to stderr.
int run_memmon(const MemmonOptions& options);

}  // namespace mlxk
