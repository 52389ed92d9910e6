#pragma once

#include <filesystem>

namespace mlxk {

/// The largest number of threads that a user may set.
constexpr int kMaxThreads = 256;

/// Returns the number of cores that this process may use, in [1, kMaxThreads]: its affinity, limited by the quotas of
/// its cgroup (v1 or v2) and of the parents; a part of a core counts as one. `root`: the file system's. Any thread.
int usable_cores(const std::filesystem::path& root = "/");

/// Returns the smallest number of cores that a quota allows; 0: no quota is set.
int cgroup_cores(const std::filesystem::path& root);

}  // namespace mlxk
