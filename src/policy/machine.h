#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "policy/policy.h"

namespace mlxk {

/// Memory in bytes; 0: unknown.
struct Memory {
  uint64_t total = 0;
  uint64_t free = 0;
};

/// The inputs of this_machine, so that tests can provide their own.
struct MachineSources {
  std::filesystem::path root = "/";  // proc/ and sys/ lie below it
  std::optional<Memory> gpu;         // of the first GPU, if the build runs there
  std::optional<std::string> limit;  // MLXK_MEMORY_LIMIT
  Memory address_space;              // by RLIMIT_AS; 0: no limit
};

/// The machine that `sources` describe; throws usage for a bad limit.
Machine read_machine(const MachineSources& sources);

/// RAM, and the available part of it, from /proc/meminfo (sysctl on macOS).
Memory system_memory(const std::filesystem::path& root);

/// The address space that this process may use by RLIMIT_AS (`ulimit -v`), and the unused part of it; 0: no limit.
Memory address_space();

/// The lowest memory limit of this process's cgroup and its parents, v1 or v2, and the least room below one; 0: none.
Memory cgroup_memory(const std::filesystem::path& root);

}  // namespace mlxk
