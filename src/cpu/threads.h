#pragma once

#include <cstdint>
#include <functional>

namespace mlxk {

/// Threads that the kernels use: MLXK_THREADS, else the cores that this process may run on.
int kernel_threads();

/// Calls body(begin, end, thread) over all of [0, count) in pieces of at most `grain`, on the pool and on the calling
/// thread; returns when all is done. thread is in [0, kernel_threads()). Callers wait for each other (a load reads
/// while a step is computed); must not throw or nest.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body);

/// The grain for items that take about `cost` multiplications each: pieces of some microseconds, below which handing
/// over costs more than it brings.
inline int64_t grain_of(int64_t cost) { return cost >= 32768 ? 1 : 32768 / (cost > 0 ? cost : 1); }

}  // namespace mlxk
