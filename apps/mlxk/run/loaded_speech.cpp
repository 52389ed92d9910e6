#include "run/loaded_speech.h"

#include <fmt/format.h>

#include <chrono>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/model_argument.h"
#include "engine/open.h"
#include "hub/resolve.h"
#include "policy/machine.h"
#include "serving/admission.h"
#include "worker/model_handle.h"

namespace mlxk {

ModelInfo find_speech_model(const std::string& word) {
  ModelInfo info = probe_model(resolve_model(runnable_argument(word)));
  const Decision decision = admit(info, this_machine(), {.has_audio = true});
  if (decision.route != Route::speech) {
    throw Error(ErrorKind::unsupported, fmt::format("'{}' is not a speech model", info.ref.name));
  }
  if (decision.kind == Decision::Kind::warn) log::warn(decision.message);
  return info;
}

LoadedSpeech load_speech(const std::filesystem::path& model) {
  const auto start = std::chrono::steady_clock::now();
  LoadedSpeech loaded;
  loaded.worker = std::make_unique<Worker>(open_engine);
  loaded.handle = loaded.worker->load(ModelKind::speech, model);
  loaded.vocabulary = SpeechVocabulary::load(model, loaded.handle->facts().vocab_size);
  loaded.seconds = seconds_since(start);
  return loaded;
}

}  // namespace mlxk
