#include "kernels/cuda/memory.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/encoder.h"
#include "mlx/memory.h"

namespace mlxk {
namespace {

using mx::cu::CudaBuffer;

constexpr int kOnHost = -1;

size_t rounded(size_t bytes) {
  constexpr size_t kMin = 256, kLarge = size_t{1} << 20;
  if (bytes >= kLarge) return (bytes + kLarge - 1) / kLarge * kLarge;
  size_t size = kMin;
  while (size < bytes) size *= 2;
  return size;
}

class Pool {
 public:
  CudaBuffer* take(size_t bytes, bool on_host) {
    const size_t size = rounded(bytes);
    {
      const std::lock_guard lock(mutex_);
      auto& free = free_[{size, on_host}];
      if (!free.empty()) {
        CudaBuffer* buffer = free.back();
        free.pop_back();
        return buffer;
      }
    }
    return make(size, on_host);
  }
  CudaBuffer* make(size_t size, bool on_host) {
    return new CudaBuffer{allocate(size, on_host), size, on_host ? kOnHost : 0};
  }

  void give(CudaBuffer* buffer, bool on_host) {
    if (!on_host && buffer->device == kOnHost) {  // libmlx has moved it for the host to read
      cuda_release(buffer->data, false);
      delete buffer;
      return;
    }
    const std::lock_guard lock(mutex_);
    free_[{buffer->size, on_host}].push_back(buffer);
  }

 private:
  void* allocate(size_t size, bool on_host) {
    try {
      return cuda_allocate(size, on_host);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::memory) throw;
    }
    mx::clear_cache();
    release();
    return cuda_allocate(size, on_host);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [kind, buffers] : free_) {
      for (CudaBuffer* buffer : buffers) {
        cuda_release(buffer->data, kind.second);
        delete buffer;
      }
      buffers.clear();
    }
  }

  std::mutex mutex_;
  std::map<std::pair<size_t, bool>, std::vector<CudaBuffer*>> free_;  // by size and place
};

Pool& pool() {
  static Pool* it = new Pool;  // outlives whatever is released at the end of the process
  return *it;
}

}  // namespace

mx::allocator::Data cuda_memory(size_t bytes, bool on_host) {
  CudaBuffer* buffer = pool().take(std::max<size_t>(bytes, 1), on_host);
  return {mx::allocator::Buffer(buffer),
          [on_host](mx::allocator::Buffer b) { pool().give(static_cast<CudaBuffer*>(b.ptr()), on_host); }};
}

mx::allocator::Data cuda_memory_of_weights(size_t bytes) {
  return {mx::allocator::Buffer(pool().make(bytes, false)), [](mx::allocator::Buffer b) {
            auto* buffer = static_cast<CudaBuffer*>(b.ptr());
            cuda_release(buffer->data, false);
            delete buffer;
          }};
}

}  // namespace mlxk
