#pragma once

#include <string>
#include <utility>
#include <vector>

struct CUfunc_st;

namespace mlxk {

/// A macro that a kernel's source is compiled with.
using CudaDefine = std::pair<const char*, int>;

/// The kernel `name` of the sources (kernels/cuda, concatenated), compiled once for the device and kept in memory and
/// in the user's cache folder; `shared_bytes` is the most dynamic shared memory of its launches. Throws Error(internal)
/// if it does not compile. Worker thread.
CUfunc_st* cuda_function(const std::vector<const char*>& sources, const char* name,
                         const std::vector<CudaDefine>& defines, int shared_bytes = 0);

/// The sources, embedded at build time.
namespace cuda_source {
extern const char* const common;
extern const char* const packed;
extern const char* const qmv;
extern const char* const qmm;
extern const char* const grouped;
extern const char* const rows;
extern const char* const route;
extern const char* const routing;
extern const char* const decode_attention;
extern const char* const sample;
extern const char* const unpack;
extern const char* const blocks;
}  // namespace cuda_source

}  // namespace mlxk
