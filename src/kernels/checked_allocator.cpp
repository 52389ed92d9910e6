// libmlx's CPU allocator returns a null pointer if malloc does, and libmlx writes there: a process with a limit on its
// address space (RLIMIT_AS) would die of SIGSEGV. This function precedes libmlx's own in the search order of the
// dynamic linker (exports.map), so libmlx allocates through it as well, and an evaluation that runs out of memory
// throws.
#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"
#include "mlx/allocator.h"

namespace mlx::core::allocator {

namespace {

/// libmlx's own function.
Allocator& unchecked() {
  void* libmlx = dlopen("libmlx.so", RTLD_LAZY | RTLD_NOLOAD);
  void* function = libmlx ? dlsym(libmlx, "_ZN3mlx4core9allocator9allocatorEv") : nullptr;
  if (!function) throw mlxk::Error(mlxk::ErrorKind::internal, "libmlx.so has no allocator");
  return reinterpret_cast<Allocator& (*)()>(function)();
}

class CheckedAllocator : public Allocator {
 public:
  Buffer malloc(size_t size) override {
    const Buffer buffer = libmlx_.malloc(size);
    if (size > 0 && !buffer.ptr()) {
      throw mlxk::Error(mlxk::ErrorKind::memory, fmt::format("out of memory: {} bytes could not be allocated", size));
    }
    return buffer;
  }
  void free(Buffer buffer) override { libmlx_.free(buffer); }
  size_t size(Buffer buffer) const override { return libmlx_.size(buffer); }
  Buffer make_buffer(void* ptr, size_t size) override { return libmlx_.make_buffer(ptr, size); }
  void release(Buffer buffer) override { libmlx_.release(buffer); }

 private:
  Allocator& libmlx_ = unchecked();
};

}  // namespace

Allocator& allocator() {
  static CheckedAllocator& checked = *new CheckedAllocator;  // arrays may outlive static objects
  return checked;
}

}  // namespace mlx::core::allocator
