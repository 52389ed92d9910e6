#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "probe/model_info.h"
#include "speech/vocabulary.h"
#include "worker/worker.h"

namespace mlxk {

/// A speech model that this process loads; the worker ends after its handle.
struct LoadedSpeech {
  std::unique_ptr<Worker> worker;
  std::shared_ptr<const ModelHandle> handle;
  std::shared_ptr<const SpeechVocabulary> vocabulary;
  double seconds = 0;
};

/// The speech model that `word` names; throws not_found, ambiguous, unsupported and what Policy blocks.
ModelInfo find_speech_model(const std::string& word);

/// Loads the model in a folder on a worker of its own. Throws bad_model.
LoadedSpeech load_speech(const std::filesystem::path& model);

}  // namespace mlxk
