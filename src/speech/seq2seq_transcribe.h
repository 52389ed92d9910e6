#pragma once

#include <memory>
#include <span>

#include "media/sample_source.h"
#include "speech/options.h"
#include "speech/seq2seq_vocabulary.h"
#include "speech/transcribe.h"
#include "speech/transcript.h"

namespace mlxk {

/// A loaded speech model with an encoder and a decoder, and its vocabulary.
struct Seq2SeqEngine {
  Worker& worker;
  std::shared_ptr<const ModelHandle> model;
  std::shared_ptr<const Seq2SeqVocabulary> vocabulary;
};

/// Transcribes `source` in bounded memory, in windows of at most 30 seconds that end at the quietest moment of their
/// last 10; each window becomes a segment. Ignores the context and word_timestamps of `options`. Blocks on the worker,
/// so it must not be called on the worker's thread. Throws the errors of the source and the engine, invalid for a
/// language that the model does not know, and cancelled.
Transcript transcribe_seq2seq(const Seq2SeqEngine& engine, SampleSource& source, const TranscribeOptions& options,
                              const TranscribeEvents& events = {});

/// The index of the middle of the quietest tenth of a second in `samples` from index `from` on; samples.size() if less
/// than a tenth is left.
size_t quietest_moment(std::span<const float> samples, size_t from);

}  // namespace mlxk
