#include "policy/nvml.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

namespace mlxk {

namespace {

// The part of NVML's C interface that is used here; its ABI is stable. 0 is success.
using Device = void*;
struct DeviceMemory {
  unsigned long long total, free, used;
};

struct Library {
  void* handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  ~Library() {
    if (handle != nullptr) dlclose(handle);
  }

  /// Calls the function `name`; false when it is absent or fails.
  template <class... Args>
  bool call(const char* name, Args... args) const {
    auto* function = handle == nullptr ? nullptr : reinterpret_cast<int (*)(Args...)>(dlsym(handle, name));
    return function != nullptr && function(args...) == 0;
  }
};

/// The first entry of CUDA_VISIBLE_DEVICES: an index, or a UUID ("GPU-…", "MIG-…").
std::optional<Device> first_device(const Library& nvml) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string first = visible == nullptr ? "0" : std::string(visible, std::strcspn(visible, ","));
  Device device = nullptr;
  unsigned index = 0;
  const auto [end, error] = std::from_chars(first.data(), first.data() + first.size(), index);
  const bool is_index = error == std::errc() && end == first.data() + first.size();
  const bool found = is_index ? nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device)
                              : nvml.call("nvmlDeviceGetHandleByUUID", first.c_str(), &device);
  return found ? std::optional(device) : std::nullopt;
}

}  // namespace

std::optional<Memory> nvml_memory() {
  const Library nvml;
  if (!nvml.call("nvmlInit_v2")) return std::nullopt;
  std::optional<Memory> result;
  DeviceMemory memory{};
  if (const auto device = first_device(nvml); device && nvml.call("nvmlDeviceGetMemoryInfo", *device, &memory)) {
    result = Memory{memory.total, memory.free};
  }
  nvml.call("nvmlShutdown");
  return result;
}

}  // namespace mlxk
