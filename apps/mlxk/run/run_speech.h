#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "speech/formats.h"
#include "speech/options.h"

namespace mlxk {

/// The parsed arguments of `mlxk run MODEL --audio F…`.
struct SpeechRun {
  std::string model;
  std::vector<std::string> files;  // "-": stdin
  TranscriptFormat format = TranscriptFormat::text;
  TranscribeOptions options;
  std::string output;          // folder; empty: stdout
  uint64_t limit = 0;          // bytes of a file
  bool segment_table = false;  // after a text (MLXK2_AUDIO_SEGMENTS=1)
  bool json = false;
  bool stream = false;  // segments as they arrive
  bool verbose = false;
  bool live = false;         // raw samples from stdin, transcribed while they arrive
  int sample_rate = 16'000;  // of these
};

/// The row --audio-limit of commands that transcribe recordings, and its value in bytes. `whole`: not to be
/// abbreviated.
Option audio_limit_option(bool whole = false);
uint64_t read_audio_limit(const Args& args);

/// The options for recordings.
std::vector<Option> speech_options();

/// The parsed arguments; `prompt` is context before the transcript. Throws usage, invalid, io for errors that can be
/// found without the model.
SpeechRun read_speech_run(const Args& args, const std::optional<std::string>& prompt);

/// Transcribes the files one after the other and returns the exit code; throws if Policy blocks, before anything is
/// loaded. If one of several files fails, the error is printed on stderr and the others are transcribed.
int run_speech(const SpeechRun& run);

}  // namespace mlxk
