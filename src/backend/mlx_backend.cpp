#include "backend/mlx_backend.h"

#include <mlx/backend/metal/metal.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/version.h>

#include <cstring>

#include "backend/generation.h"
#include "convert/convert.h"
#include "models/load.h"

namespace mlxk {

namespace {
// Freed buffers that libmlx keeps for reuse. Enough for the activations of a step; more would look like a leak.
constexpr size_t kBufferCacheBytes = size_t{64} << 20;
}  // namespace

MlxBackend::MlxBackend() { mx::set_cache_limit(kBufferCacheBytes); }

DeviceFacts MlxBackend::device() {
  const char* name = "cpu";
  if (mx::default_device() == mx::Device::gpu) name = mx::metal::is_available() ? "metal" : "cuda";
  return {name, mx::version()};
}

std::unique_ptr<TextModel> MlxBackend::load_text(const std::filesystem::path& model_dir, const ProgressSink& progress) {
  return make_text_model(load_model(model_dir, [&](int64_t done, int64_t total) {
    if (progress) progress("loading", done, total);
  }));
}

ConvertReport MlxBackend::convert(const ConvertOptions& options, const ProgressSink& progress) {
  return convert_model(options, progress);
}

}  // namespace mlxk

extern "C" __attribute__((visibility("default"))) mlxk::Backend* mlxk_create_backend(const char* version) {
  if (std::strcmp(version, MLXK_VERSION) != 0) return nullptr;
  return new mlxk::MlxBackend();
}
