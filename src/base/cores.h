#pragma once

#include <filesystem>

namespace mlxk {

/// The most threads that may be asked for.
constexpr int kMaxThreads = 256;

/// The cores that this process may use, in [1, kMaxThreads]: its affinity, within the quotas of its cgroup (v1 or v2)
/// and of those above it, a part of a core counting as one. `root` is that of the file system. Any thread.
int usable_cores(const std::filesystem::path& root = "/");

/// The least number of cores that the quotas allow; 0: there is none.
int cgroup_cores(const std::filesystem::path& root);

}  // namespace mlxk
