#pragma once

#include <filesystem>
#include <memory>
#include <variant>

#include "worker/facts.h"

namespace mlxk {

class FrameVocabulary;
class Seq2SeqVocabulary;
class SpeechVocabulary;

/// The vocabulary of a speech model: Whisper's, that of a model that decodes frame by frame, or that of
/// another with an encoder and a decoder.
using AnySpeechVocabulary =
    std::variant<std::shared_ptr<const SpeechVocabulary>, std::shared_ptr<const FrameVocabulary>,
                 std::shared_ptr<const Seq2SeqVocabulary>>;

/// Reads the vocabulary of the model in `model_dir`, loaded with these facts; throws bad_model.
AnySpeechVocabulary load_speech_vocabulary(const std::filesystem::path& model_dir, const ModelFacts& facts);

}  // namespace mlxk
