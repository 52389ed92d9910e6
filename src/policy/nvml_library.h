#pragma once

#include <dlfcn.h>

namespace mlxk {

/// The driver's NVML library, opened at run time. Its C interface is stable; 0 is success.
class NvmlLibrary {
 public:
  using Device = void*;
  struct DeviceMemory {
    unsigned long long total, free, used;
  };
  struct Utilization {
    unsigned gpu, memory;  // percent
  };

  NvmlLibrary() : handle_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  ~NvmlLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  NvmlLibrary(const NvmlLibrary&) = delete;
  NvmlLibrary& operator=(const NvmlLibrary&) = delete;

  /// Calls the function `name`; false when it is absent or fails.
  template <class... Args>
  bool call(const char* name, Args... args) const {
    auto* function = handle_ == nullptr ? nullptr : reinterpret_cast<int (*)(Args...)>(dlsym(handle_, name));
    return function != nullptr && function(args...) == 0;
  }

 private:
  void* handle_;
};

}  // namespace mlxk
