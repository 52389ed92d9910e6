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
  if (decision.route != Route::speech && decision.route != Route::vision) {
    throw Error(ErrorKind::unsupported, fmt::format("'{}' is not a speech model", info.ref.name));
  }
  if (decision.kind == Decision::Kind::warn) log::warn(decision.message);
  return info;
}

LoadedSpeech load_speech(const std::string& word, const ModelInfo& info) {
  const auto start = std::chrono::steady_clock::now();
  LoadedSpeech loaded;
  if (info.audio_backend == AudioBackend::stt) {
    loaded.speech_worker = std::make_unique<Worker>(open_engine);
    auto handle = loaded.speech_worker->load(ModelKind::speech, info.ref.path);
    loaded.recognizer = speech_recognizer_in(*loaded.speech_worker, std::move(handle), info.ref.path);
  } else {
    loaded.opened =
        std::make_unique<OpenedModel>(runnable_argument(word), RequestFacts{.has_audio = true}, open_engine);
    OpenedModel& model = *loaded.opened;
    model.load();
    loaded.recognizer =
        audio_model_recognizer({model.worker(), model.handle(), model.tokenizer(), model.chat_template(),
                                *model.audio_processor(), model.info().context_length});
  }
  loaded.seconds = seconds_since(start);
  return loaded;
}

}  // namespace mlxk
