#include "models/load.h"

#include "backend/mlx_backend.h"
#include "backend/speech/transcriber.h"

namespace mlxk {

std::unique_ptr<SpeechModel> MlxBackend::load_speech(const std::filesystem::path& model_dir,
                                                     const ProgressSink& progress) {
  return make_speech_model(load_speech_net(model_dir, [&](int64_t done, int64_t total) {
    if (progress) progress("loading", done, total);
  }));
}

}  // namespace mlxk
