#pragma once

#include "worker/backend.h"

namespace mlxk {

/// The backend on libmlx's default device. It is made, used and destroyed on the worker thread.
class MlxBackend : public Backend {
 public:
  MlxBackend();
  DeviceFacts device() override;
  double gpu_bandwidth() override;
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& model_dir, const LoadOptions& options,
                                    const ProgressSink& progress) override;
  ConvertReport convert(const ConvertOptions& options, const ProgressSink& progress) override;
  void rest() override;
};

/// Loads a text model with MlxBackend::load, for callers without a worker (benchmarks, tests).
std::unique_ptr<TextModel> load_text(MlxBackend& backend, const std::filesystem::path& model_dir,
                                     const LoadOptions& options = {});

}  // namespace mlxk
