#pragma once

#include <string>
#include <vector>

#include "chat/prompt.h"
#include "media/audio.h"

namespace mlxk {

/// A recording's file in memory.
struct AudioFile {
  std::string bytes;
  std::string place;  // what errors name: a path, a field
};

/// All samples of `source`, at `rate` a second. Throws invalid naming `place` where it holds none, or more seconds than
/// `most`; what the source throws. Asks check_stop().
std::vector<float> read_samples(SampleSource& source, const std::string& place, int rate, double most);

/// Decodes and processes `files`, of `limit` bytes each at most, for a model whose context is `context` tokens (0:
/// unknown). Throws invalid or unsupported naming the file's place. Asks check_stop().
PromptAudio process_recordings(const AudioProcessor& processor, const std::vector<AudioFile>& files, int64_t context,
                               uint64_t limit = kAudioBytes);

/// The longest recording in seconds that leaves room for a question and an answer in `context` tokens (0: unknown).
double most_seconds(const AudioProcessor& processor, int64_t context);

}  // namespace mlxk
