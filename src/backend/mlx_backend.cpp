#include "backend/mlx_backend.h"

#include <fmt/format.h>
#include <mlx/backend/metal/metal.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <mlx/version.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <variant>
#ifdef __GLIBC__
#include <malloc.h>
#include <unistd.h>

#include <fstream>
#endif

#include "backend/embedding/embedder.h"
#include "backend/generation.h"
#include "backend/prefix_files.h"
#include "backend/speech/transcriber.h"
#include "base/error.h"
#include "convert/convert.h"
#include "cpu/features.h"
#include "kernels/cpu_op.h"
#include "models/load.h"

namespace mlxk {

namespace {
// Freed buffers that libmlx keeps for reuse: enough for the activations of a step; more would look like a leak.
constexpr size_t kBufferCacheBytes = size_t{64} << 20;
// On CUDA allocation is slower, and prefill's activations are larger.
constexpr size_t kCudaBufferCacheBytes = size_t{512} << 20;

/// libmlx's CPU allocator is malloc, and every operation's result is a new block. Without this setting glibc returns
/// each large block to the kernel and faults its pages in again, a sixth of the prefill time.
void keep_freed_blocks() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest value that glibc accepts
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

/// After many concurrent requests, freed blocks are most of the process's memory. The blocks of a single request are
/// kept: the next one reuses them without page faults, which saves some 25 ms.
void give_freed_blocks_back() {
#ifdef __GLIBC__
  constexpr uint64_t kKept = uint64_t{128} << 20;
  uint64_t resident = 0, of_files = 0, size = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> of_files;
  const auto heap = mallinfo2();  // also counts blocks that were already returned as free
  const uint64_t used = heap.uordblks + heap.hblkhd;
  if ((resident - of_files) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) > used + kKept) malloc_trim(0);
#endif
}

/// MLXK_DEVICE names another device than libmlx's own choice.
void choose_device() {
  const char* name = std::getenv("MLXK_DEVICE");
  if (!name || !*name) return;
  const bool gpu = std::strcmp(name, "gpu") == 0;
  if (!gpu && std::strcmp(name, "cpu") != 0) {
    throw Error(ErrorKind::usage, fmt::format("MLXK_DEVICE: 'cpu' or 'gpu', got '{}'", name));
  }
  const mx::Device device = gpu ? mx::Device::gpu : mx::Device::cpu;
  if (!mx::is_available(device)) {
    throw Error(ErrorKind::unsupported, "this build of the engine, or this machine, has no GPU",
                "leave the device to the engine, or choose `cpu`");
  }
  mx::set_default_device(device);
}
}  // namespace

MlxBackend::MlxBackend() {
  choose_device();
  const bool cuda = !cpu_is_default() && !mx::metal::is_available();
  mx::set_cache_limit(cuda ? kCudaBufferCacheBytes : kBufferCacheBytes);
  keep_freed_blocks();
}

DeviceFacts MlxBackend::device() {
  if (cpu_is_default()) return {"cpu", mx::version(), cpu_kernels().name};
  const bool metal = mx::metal::is_available();
  const auto& info = mx::device_info();
  const auto name = info.find("device_name"), memory = info.find(metal ? "memory_size" : "total_memory");
  const auto* text = name == info.end() ? nullptr : std::get_if<std::string>(&name->second);
  const auto* bytes = memory == info.end() ? nullptr : std::get_if<size_t>(&memory->second);
  return {metal ? "metal" : "cuda", mx::version(), "", text ? *text : "", bytes ? *bytes : 0};
}

double MlxBackend::gpu_bandwidth() {
  if (cpu_is_default()) return 0;
  constexpr int kCount = 1 << 26, kOperations = 16, kPasses = 3;  // 256 MB exceed the caches
  mx::array x = mx::zeros({kCount});
  mx::eval(x);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kOperations; ++i) x = mx::add(x, mx::array(1.0F));
    mx::eval(x);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * kOperations * static_cast<double>(x.nbytes()) / seconds.count());
  }
  return best;
}

std::unique_ptr<EngineModel> MlxBackend::load(ModelKind kind, const std::filesystem::path& model_dir,
                                              const LoadOptions& options, const ProgressSink& progress) {
  const LoadProgress loading = [&](int64_t done, int64_t total) {
    if (progress) progress("loading", done, total);
  };
  switch (kind) {
    case ModelKind::text:
    case ModelKind::vision:
    case ModelKind::audio: {
      std::function<std::unique_ptr<Model>()> read_draft;
      if (!options.draft_dir.empty()) read_draft = [&] { return load_model(options.draft_dir, loading); };
      auto model = kind == ModelKind::text ? load_model(model_dir, loading) : load_multimodal_model(model_dir, loading);
      return make_text_model(std::move(model), options, prefix_identity(model_dir), read_draft);
    }
    case ModelKind::speech: return make_speech_model(load_speech_net(model_dir, loading));
    case ModelKind::embedding: return make_embedding_model(load_encoder(model_dir, loading), model_dir);
  }
  throw Error(ErrorKind::internal, fmt::format("[backend] unknown model kind {}", static_cast<int>(kind)));
}

ConvertReport MlxBackend::convert(const ConvertOptions& options, const ProgressSink& progress) {
  return convert_model(options, progress);
}

void MlxBackend::rest() {
  mx::clear_cache();
  give_freed_blocks_back();
}

std::unique_ptr<TextModel> load_text(MlxBackend& backend, const std::filesystem::path& model_dir,
                                     const LoadOptions& options) {
  auto model = backend.load(ModelKind::text, model_dir, options, {});
  return std::unique_ptr<TextModel>(&dynamic_cast<TextModel&>(*model.release()));
}

}  // namespace mlxk

extern "C" __attribute__((visibility("default"))) mlxk::Backend* mlxk_create_backend(const char* version) {
  if (std::strcmp(version, MLXK_VERSION) != 0) return nullptr;
  return new mlxk::MlxBackend();
}
