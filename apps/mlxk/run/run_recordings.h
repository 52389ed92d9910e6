#pragma once

#include <functional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "run/run.h"
#include "serving/images.h"
#include "serving/recordings.h"

namespace mlxk {

/// Whether `args` ask a language model a question about recordings, rather than for a transcript.
bool asks_about_recordings(const Args& args);

/// Throws usage if `args` has a flag that is only for transcripts, naming the flag.
void check_question(const Args& args);

/// Reads recordings of at most `limit` bytes each; `-` is stdin. Throws io for a missing file, invalid for one that is
/// too large.
std::vector<AudioFile> read_recordings(const std::vector<std::string>& paths, uint64_t limit);

/// Sends the prompt with `recordings` and `images`; the answer goes to `write` as it arrives.
GeneratedAnswer run_recordings(OpenedModel& model, const RunOptions& options, const std::vector<AudioFile>& recordings,
                               const std::vector<ImageFile>& images,
                               const std::function<void(const std::string& piece)>& write);

}  // namespace mlxk
