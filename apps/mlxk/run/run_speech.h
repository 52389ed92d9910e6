#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "speech/formats.h"
#include "speech/options.h"

namespace mlxk {

/// What `mlxk run MODEL --audio F…` was asked to do.
struct SpeechRun {
  std::string model;
  std::vector<std::string> files;  // "-": stdin
  TranscriptFormat format = TranscriptFormat::text;
  TranscribeOptions options;
  std::string output;          // folder; empty: stdout
  uint64_t limit = 0;          // bytes of a file
  bool segment_table = false;  // behind a text (MLXK2_AUDIO_SEGMENTS=1)
  bool json = false;
  bool stream = false;  // segments as they come
  bool verbose = false;
};

/// The row --audio-limit of commands that transcribe recordings, and what it says in bytes. `whole`: not to be
/// abbreviated.
Option audio_limit_option(bool whole = false);
uint64_t read_audio_limit(const Args& args);

/// The flags of recordings.
std::vector<Option> speech_options();

/// What `args` asks for; `prompt` is the transcript's beginning, as it were. Throws usage, invalid, io for what can be
/// known without the model.
SpeechRun read_speech_run(const Args& args, const std::optional<std::string>& prompt);

/// Transcribes the files one after the other and returns the exit code; throws what Policy blocks before anything is
/// loaded. Of several files one that fails is told of on stderr, and the others go on.
int run_speech(const SpeechRun& run);

}  // namespace mlxk
