#include "run/run_speech.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <future>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/table.h"
#include "json/api.h"
#include "media/audio.h"
#include "run/loaded_speech.h"
#include "run/run_live.h"
#include "speech/transcribe.h"
#include "terminal/interrupt.h"
#include "terminal/markdown.h"
#include "terminal/output.h"
#include "terminal/progress_line.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

ModelInfo admitted(const SpeechRun& run) {
  ModelInfo info = find_speech_model(run.model);
  if (run.options.translate && !info.translates_to_english) {
    throw Error(ErrorKind::unsupported, fmt::format("Model '{}' does not support speech translation", info.ref.name));
  }
  return info;
}

std::unique_ptr<AudioSource> open_audio(const SpeechRun& run, const std::string& file) {
  return std::make_unique<AudioSource>(file == "-" ? descriptor_bytes(STDIN_FILENO, "stdin") : open_bytes(file),
                                       file == "-" ? "stdin" : file, run.limit);
}

/// The table format that tools for the original read.
std::string segment_table(const Transcript& transcript) {
  std::string rows;
  size_t count = 0;
  for (const auto& segment : transcript.segments) {
    std::string text = segment.text.substr(std::min(segment.text.find_first_not_of(' '), segment.text.size()));
    if (text.empty()) continue;
    for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
    rows += fmt::format("| {:.2f}s | {:.2f}s | {} |\n", segment.start, segment.end, text);
    ++count;
  }
  if (count == 0) return {};
  return fmt::format(
      "\n<details>\n<summary>Audio Segments ({} segments)</summary>\n\n"
      "| Start | End | Text |\n|-------|-----|------|\n{}\n</details>\n",
      count, rows);
}

void write_all(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

/// Whether segments can be shown one by one.
bool has_pieces(TranscriptFormat format) {
  return format != TranscriptFormat::json && format != TranscriptFormat::verbose_json &&
         format != TranscriptFormat::diarized_json;
}

/// Transcribes one recording, shows the progress, and prints the segments as they arrive if requested.
Transcript transcribe_file(const SpeechRun& run, const LoadedSpeech& model, AudioSource& source,
                           const std::string& name) {
  const bool pieces = run.stream && has_pieces(run.format);
  ProgressLine progress(run.json);
  size_t shown = 0;
  if (pieces) write_all(format_header(run.format));
  TranscribeEvents events;
  events.cancelled = interrupted;
  events.progress = [&](double seconds, double known) {
    const double all = std::max({source.seconds(), known, seconds});
    progress.show_time(name, seconds, source.seconds() > 0 || known > seconds ? all : 0);
  };
  if (pieces) {
    events.segment = [&](const SpeechSegment& segment) {
      if (segment.text.empty()) return;
      progress.clear();
      write_all(without_controls(format_segment(run.format, segment, shown++)));
    };
  }
  const auto start = Clock::now();
  Transcript transcript = model.recognizer->transcribe(source, run.options, events);
  if (run.verbose) {
    const double took = seconds_since(start);
    progress.clear();
    fmt::print(stderr, "{}: {:.1f}s of {} in {:.1f}s ({:.1f}x real time)\n", name, transcript.duration,
               transcript.language, took, transcript.duration / std::max(took, 1e-9));
  }
  return transcript;
}

/// Prints or writes the part that was not shown yet.
void tell(const SpeechRun& run, const Transcript& transcript, const std::string& file) {
  std::string text = format_transcript(run.format, transcript, run.options.translate);
  if (text.empty() || text.back() != '\n') text += '\n';
  const std::string table = run.segment_table ? segment_table(transcript) : "";
  if (!run.output.empty()) {
    const std::string stem = file == "-" ? "stdin" : fs::path(file).stem().string();
    const fs::path target = fs::path(run.output) / fmt::format("{}.{}", stem, format_extension(run.format));
    write_file_atomic(target, text + table);
    print_line(target.string());
    return;
  }
  const bool shown = run.stream && has_pieces(run.format);
  write_all((shown ? "" : isatty(STDOUT_FILENO) ? without_controls(text) : text) + table);
}

void make_folder(const std::string& path) {
  std::error_code error;
  if (path.empty() || fs::is_directory(path, error)) return;
  if (!fs::create_directories(path, error)) {
    throw Error(ErrorKind::io,
                fmt::format("cannot make the folder {}: {}", path, error ? error.message() : "it is a file"));
  }
}

Json file_data(const SpeechRun& run, const Transcript& transcript, const std::string& file) {
  Json data = verbose_json(transcript, run.options.translate, true, run.options.word_timestamps);
  data["file"] = file;
  return data;
}

}  // namespace

int run_speech(const SpeechRun& run) {
  const ModelInfo info = admitted(run);
  make_folder(run.output);
  // The first recording is opened before the weights are read, or while they are.
  auto loading = std::async(std::launch::async, [&] { return load_speech(run.model, info); });
  const auto live = run.live ? std::make_unique<LiveInput>() : nullptr;
  auto first = live ? nullptr : open_audio(run, run.files.front());
  const LoadedSpeech model = loading.get();
  if (const auto refused = refused_option(*model.recognizer, run.options, run.format)) {
    throw Error(ErrorKind::usage,
                fmt::format("argument {}: not for '{}': {}", refused->flag, info.ref.name, refused->why));
  }
  if (run.verbose) fmt::print(stderr, "Loaded in {:.1f}s\n", model.seconds);
  const InterruptGuard guard;
  if (live) return transcribe_live(run, model, *live);
  Json files = Json::array();
  std::string all;
  int code = 0;
  for (const std::string& file : run.files) {
    try {
      const auto source = first ? std::move(first) : open_audio(run, file);
      const Transcript transcript =
          transcribe_file(run, model, *source, file == "-" ? "stdin" : fs::path(file).filename().string());
      if (run.json) {
        files.push_back(file_data(run, transcript, file));
        all += format_transcript(TranscriptFormat::text, transcript, false);
      } else {
        tell(run, transcript, file);
      }
    } catch (const Error& error) {
      if (run.json || run.files.size() == 1 || error.kind() == ErrorKind::cancelled) throw;
      code = report_error(error, find_command("run"), false);
    }
  }
  if (run.json) {
    if (!all.empty() && all.back() == '\n') all.pop_back();
    print_json(success_envelope("run", {{"model", run.model},
                                        {"prompt", run.options.initial_prompt},
                                        {"response", all},
                                        {"files", files},
                                        {"timings", {{"load_s", model.seconds}}}}));
  }
  return code;
}

}  // namespace mlxk
