#pragma once

#include <memory>
#include <string>

#include "probe/model_info.h"
#include "serving/opened_model.h"
#include "serving/recognizer.h"
#include "worker/worker.h"

namespace mlxk {

/// A model for transcription, loaded by this process. The worker outlives its handle.
struct LoadedSpeech {
  std::unique_ptr<Worker> speech_worker;  // for a speech model
  std::unique_ptr<OpenedModel> opened;    // a language model that accepts recordings, with its own worker
  std::unique_ptr<Recognizer> recognizer;
  double seconds = 0;  // of loading

  Worker& worker() const { return opened ? opened->worker() : *speech_worker; }
};

/// The model for transcription named `word`; throws not_found, ambiguous, unsupported and policy refusals.
ModelInfo find_speech_model(const std::string& word);

/// Loads the model of `info`, named `word` on the command line, on its own worker. Throws bad_model.
LoadedSpeech load_speech(const std::string& word, const ModelInfo& info);

}  // namespace mlxk
