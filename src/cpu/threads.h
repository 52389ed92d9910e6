#pragma once

#include <cstdint>
#include <functional>

namespace mlxk {

/// Threads that the kernels use: MLXK_THREADS, else the cores that this process may run on.
int kernel_threads();

/// Calls body(begin, end, thread) over all of [0, count) in pieces of at most `grain`, on the pool and on the calling
/// thread; returns when all pieces are done. thread is in [0, kernel_threads()). Concurrent callers wait for each other
/// (a load reads while a step is computed); body must not throw or nest.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body);

/// The grain for items of about `cost` multiplications each: pieces of some microseconds, below which the overhead
/// exceeds the gain.
inline int64_t grain_of(int64_t cost) { return cost >= 32768 ? 1 : 32768 / (cost > 0 ? cost : 1); }

}  // namespace mlxk
