#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mlxk {

/// What a figure of speed is worth nothing without.
struct MachineFacts {
  std::string cpu;                    // the model's name; empty: unknown
  std::vector<std::string> features;  // of the instruction set, those that the kernels ask for
  int cores = 0;                      // that this process may use
  uint64_t memory_bytes = 0;
};

/// Reads /proc/cpuinfo or asks the system.
MachineFacts machine_facts();

/// Bytes a second that `threads` threads read from memory, each its part of `bytes`, which should exceed the caches:
/// the best of three passes. Allocates `bytes` and gives them back.
double read_bandwidth(int threads, uint64_t bytes);

/// Starts the count of peak_memory() anew where the system can (Linux).
void reset_peak_memory();
/// The most memory that the process held at once, mapped weights included, in bytes.
uint64_t peak_memory();

}  // namespace mlxk
