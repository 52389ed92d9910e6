#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

struct CUfunc_st;

namespace mlxk {

/// The CUDA driver and its compiler, opened on first use; libmlx has loaded both.

/// The current device.
struct CudaDevice {
  int major, minor;  // compute capability
  int multiprocessors;
  int shared_bytes;  // that a block can have
};
const CudaDevice& cuda_device();

/// Allocates memory of the device, or of the host (pinned, reachable by the device). Throws Error(memory) if there is
/// no more.
void* cuda_allocate(size_t bytes, bool on_host);
void cuda_release(void* data, bool on_host);
/// Sets device memory to zero, immediately.
void cuda_zero(void* data, size_t bytes);

/// How a kernel is launched.
struct CudaLaunch {
  CUfunc_st* function;
  unsigned grid[3], threads;
  unsigned shared_bytes;
};
/// Launches a kernel on a stream. On devices of capability 9 and later it may begin before the stream's earlier work
/// has ended: the kernels wait where they must (common.cuh).
void cuda_launch(const CudaLaunch& launch, void* stream, void** params);

/// Copies data that is on the device and already computed.
void cuda_copy_to_host(void* to, const void* from, size_t bytes);

/// The CUDA context of the thread that makes this.
class CudaContext {
 public:
  CudaContext();
  /// Makes it the calling thread's.
  void use() const;

 private:
  void* context_ = nullptr;
};

/// A piece of pinned memory that is copied to the device beside other work. Of one thread, which has a context.
class CudaCopier {
 public:
  /// Throws Error(memory).
  explicit CudaCopier(size_t bytes);
  CudaCopier(const CudaCopier&) = delete;
  CudaCopier& operator=(const CudaCopier&) = delete;
  ~CudaCopier();
  /// Waits for the last copy; the memory may be written then.
  char* wait();
  /// Begins to copy the first bytes of it.
  void copy(void* to, size_t bytes);

 private:
  void* stream_ = nullptr;
  void* staged_ = nullptr;
};

/// The machine code of a source for the current device; throws Error(internal) with the compiler's log.
std::string cuda_compile(const std::string& source, const std::vector<std::string>& options);
/// The properties of compiler and device that machine code depends on.
std::string cuda_compiler_id();

/// The function `name` of loaded machine code, with up to `shared_bytes` of dynamic shared memory; null if the code
/// cannot be loaded.
CUfunc_st* cuda_load(const std::string& code, const char* name, int shared_bytes);

}  // namespace mlxk
