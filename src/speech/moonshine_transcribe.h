#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "media/sample_source.h"
#include "speech/options.h"
#include "speech/transcribe.h"
#include "speech/transcript.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The tokenizer of a Moonshine model and the tokens that begin and end a text. Immutable; any thread.
struct MoonshineVocabulary {
  /// Reads the tokenizer and config.json of the model in `model_dir`; throws bad_model naming the key.
  static std::shared_ptr<const MoonshineVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);

  std::shared_ptr<const Tokenizer> tokenizer;
  int32_t start, end;
};

/// A loaded Moonshine model and its vocabulary.
struct MoonshineEngine {
  Worker& worker;
  std::shared_ptr<const ModelHandle> model;
  std::shared_ptr<const MoonshineVocabulary> vocabulary;
};

/// Transcribes `source` in bounded memory, in windows of at most 30 seconds that end at the quietest moment of their
/// last 10; each window becomes a segment. Ignores the language, context and word_timestamps of `options`. Blocks on
/// the worker, so it must not be called on the worker's thread. Throws the errors of the source and the engine, and
/// cancelled.
Transcript transcribe_moonshine(const MoonshineEngine& engine, SampleSource& source, const TranscribeOptions& options,
                                const TranscribeEvents& events = {});

/// The index of the middle of the quietest tenth of a second in `samples` from index `from` on; samples.size() if less
/// than a tenth is left.
size_t quietest_moment(std::span<const float> samples, size_t from);

}  // namespace mlxk
