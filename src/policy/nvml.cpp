#include "policy/nvml.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

#include "policy/nvml_library.h"

namespace mlxk {

namespace {

/// The first entry of CUDA_VISIBLE_DEVICES: an index, or a UUID ("GPU-…", "MIG-…").
std::optional<NvmlLibrary::Device> first_device(const NvmlLibrary& nvml) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string first = visible == nullptr ? "0" : std::string(visible, std::strcspn(visible, ","));
  NvmlLibrary::Device device = nullptr;
  unsigned index = 0;
  const auto [end, error] = std::from_chars(first.data(), first.data() + first.size(), index);
  const bool is_index = error == std::errc() && end == first.data() + first.size();
  const bool found = is_index ? nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device)
                              : nvml.call("nvmlDeviceGetHandleByUUID", first.c_str(), &device);
  return found ? std::optional(device) : std::nullopt;
}

}  // namespace

std::optional<Memory> nvml_memory() {
  const NvmlLibrary nvml;
  if (!nvml.call("nvmlInit_v2")) return std::nullopt;
  std::optional<Memory> result;
  NvmlLibrary::DeviceMemory memory{};
  if (const auto device = first_device(nvml); device && nvml.call("nvmlDeviceGetMemoryInfo", *device, &memory)) {
    result = Memory{memory.total, memory.free};
  }
  nvml.call("nvmlShutdown");
  return result;
}

}  // namespace mlxk
