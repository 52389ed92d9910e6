#include "speech/any_vocabulary.h"

#include "speech/canary_vocabulary.h"
#include "speech/frame_vocabulary.h"
#include "speech/moonshine_vocabulary.h"
#include "speech/vocabulary.h"

namespace mlxk {

AnySpeechVocabulary load_speech_vocabulary(const std::filesystem::path& model_dir, const ModelFacts& facts) {
  const SpeechFacts& speech = facts.speech.value();
  if (speech.text_positions == 0) return FrameVocabulary::load(model_dir, facts.vocab_size);
  if (facts.model_type == "canary") return CanaryVocabulary::load(model_dir, facts.vocab_size);
  if (speech.frames == 0) return MoonshineVocabulary::load(model_dir, facts.vocab_size);
  return SpeechVocabulary::load(model_dir, facts.vocab_size);
}

}  // namespace mlxk
