#pragma once

#include <functional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "run/run.h"
#include "serving/images.h"
#include "serving/recordings.h"

namespace mlxk {

/// Whether `args` ask a language model about recordings, rather than for a transcript. Throws what Resolve throws.
bool asks_about_recordings(const Args& args);

/// Throws usage naming a flag of `args` that is for transcripts alone.
void check_question(const Args& args);

/// Reads recordings, `-` from stdin, of `limit` bytes each at most; throws io for one that is not there, invalid for
/// one that is too large.
std::vector<AudioFile> read_recordings(const std::vector<std::string>& paths, uint64_t limit);

/// Asks the prompt about `recordings` and `images` together; the answer goes to `write` as it comes.
GeneratedAnswer run_recordings(OpenedModel& model, const RunOptions& options, const std::vector<AudioFile>& recordings,
                               const std::vector<ImageFile>& images,
                               const std::function<void(const std::string& piece)>& write);

}  // namespace mlxk
