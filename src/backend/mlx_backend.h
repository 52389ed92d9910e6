#pragma once

#include "worker/backend.h"

namespace mlxk {

/// The backend on libmlx's default device. Made, used and destroyed on the worker thread.
class MlxBackend : public Backend {
 public:
  MlxBackend();
  DeviceFacts device() override;
  std::unique_ptr<TextModel> load_text(const std::filesystem::path& model_dir, const TextModelOptions& options,
                                       const ProgressSink& progress) override;
  std::unique_ptr<SpeechModel> load_speech(const std::filesystem::path& model_dir,
                                           const ProgressSink& progress) override;
  ConvertReport convert(const ConvertOptions& options, const ProgressSink& progress) override;
  void rest() override;
};

}  // namespace mlxk
