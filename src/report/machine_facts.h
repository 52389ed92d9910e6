#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mlxk {

/// The facts without which a speed figure is worthless.
struct MachineFacts {
  std::string cpu;                    // the model's name; empty: unknown
  std::vector<std::string> features;  // of the instruction set, those that the kernels need
  int cores = 0;                      // that this process may use
  uint64_t memory_bytes = 0;
};

/// Reads /proc/cpuinfo or asks the system.
MachineFacts machine_facts();

/// The read bandwidth of memory in bytes a second, with `threads` threads each reading its part of `bytes`, which
/// should exceed the caches: the best of three passes. Allocates `bytes` and frees them.
double read_bandwidth(int threads, uint64_t bytes);

/// Resets the peak of peak_memory() if the system can (Linux).
void reset_peak_memory();
/// The most memory that this process held at once, mapped weights included, in bytes.
uint64_t peak_memory();

/// Memory of a process in bytes, mapped weights included; 0: the system does not tell (it is Linux that does).
struct ProcessMemory {
  uint64_t held = 0, peak = 0;
};
ProcessMemory process_memory(pid_t process);

}  // namespace mlxk
