#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mlxk {

/// The facts about a machine that are needed to interpret a speed.
struct MachineFacts {
  std::string cpu;                    // the model's name; empty: unknown
  std::vector<std::string> features;  // instruction set extensions that the kernels need
  int cores = 0;                      // available to this process
  uint64_t memory_bytes = 0;
};

/// Reads /proc/cpuinfo or queries the system.
MachineFacts machine_facts();

/// Measures the read bandwidth of memory in bytes per second: `threads` threads each read a part of `bytes` bytes; the
/// best of three passes counts. `bytes` should exceed the caches. Allocates and frees `bytes` bytes.
double read_bandwidth(int threads, uint64_t bytes);

/// Resets the peak of peak_memory() if the system can (Linux).
void reset_peak_memory();
/// The peak memory of this process in bytes, mapped weights included.
uint64_t peak_memory();

/// Memory of a process in bytes, mapped weights included; 0: unknown (only Linux reports it).
struct ProcessMemory {
  uint64_t held = 0, peak = 0;
};
ProcessMemory process_memory(pid_t process);

}  // namespace mlxk
