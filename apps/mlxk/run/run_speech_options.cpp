#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "run/prompt_input.h"
#include "run/run_speech.h"
#include "speech/languages.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

std::vector<std::pair<double, std::optional<double>>> read_clips(const std::string& text) {
  if (auto clips = parse_clips(text)) return std::move(*clips);
  throw Error(ErrorKind::usage, fmt::format("argument --clip-timestamps: not seconds: '{}'", text));
}

TranscriptFormat read_format(const std::string& name) {
  if (const auto format = find_format(name)) return *format;
  throw Error(
      ErrorKind::usage,
      fmt::format("argument --format: one of text, json, verbose_json, diarized_json, srt, vtt, tsv, lrc; got '{}'",
                  name));
}

/// A language by code or name; empty: not given.
std::string read_language(const Args& args, const char* flag) {
  std::string language = args.text(flag);
  if (language.empty() || find_language(language)) return language;
  throw Error(ErrorKind::invalid, fmt::format("{} '{}' is not a language that Whisper knows", flag, language));
}

void check_files(const SpeechRun& run) {
  std::set<std::string> stems;
  for (const std::string& file : run.files) {
    if (file == "-") {
      if (std::count(run.files.begin(), run.files.end(), file) > 1)
        throw Error(ErrorKind::usage, "stdin can be read once");
    } else {
      std::error_code error;
      if (!fs::is_regular_file(file, error)) {
        throw Error(ErrorKind::io, fmt::format("Audio file not found: {}", file), misplaced_prompt_hint(file));
      }
      if (fs::file_size(file, error) > run.limit) {
        throw Error(ErrorKind::invalid, fmt::format("Audio file too large (>{}MB): {}", run.limit >> 20, file),
                    "--audio-limit allows more");
      }
    }
    if (!run.output.empty() && !stems.insert(fs::path(file).stem().string()).second) {
      throw Error(ErrorKind::usage,
                  fmt::format("two transcripts would be called {} in --output", fs::path(file).stem().string()));
    }
  }
  const bool lines = run.format == TranscriptFormat::text || run.format == TranscriptFormat::json ||
                     run.format == TranscriptFormat::verbose_json;
  if (run.files.size() > 1 && run.output.empty() && !lines) {
    throw Error(ErrorKind::usage, "several files in this format need --output DIR");
  }
}

/// --live has one endless recording, whose texts are printed as they come.
void check_live(const Args& args, const SpeechRun& run) {
  if (!run.live) {
    if (args.given.count("--sample-rate") != 0)
      throw Error(ErrorKind::usage, "argument --sample-rate: only with --live");
    return;
  }
  if (run.files != std::vector<std::string>{"-"})
    throw Error(ErrorKind::usage, "argument --live: reads stdin: --audio -");
  for (const char* flag : {"--json", "--output", "--clip-timestamps", "--vad", "--audio-limit"}) {
    if (args.given.count(flag) != 0) {
      throw Error(ErrorKind::usage, fmt::format("argument --live: not with {}", flag),
                  std::string_view(flag) == "--json" ? "--format json prints a line for each text" : "");
    }
  }
  if (run.format == TranscriptFormat::verbose_json || run.format == TranscriptFormat::diarized_json) {
    throw Error(ErrorKind::usage, fmt::format("argument --live: not with --format {}; json prints a line for each text",
                                              args.given.at("--format").back()));
  }
}

}  // namespace

Option audio_limit_option(bool whole) {
  return {.name = "--audio-limit",
          .kind = OptionKind::integer,
          .metavar = "MB",
          .help = "largest recording",
          .default_value = "50",
          .min = 1,
          .max = 1 << 20,
          .whole = whole};
}

uint64_t read_audio_limit(const Args& args) { return static_cast<uint64_t>(args.integer("--audio-limit")) << 20; }

std::vector<Option> speech_options() {
  using Kind = OptionKind;
  return {
      {"--audio", Kind::many, "FILE", "recordings for a speech or audio model; `-` is stdin"},
      {.name = "--format",
       .kind = Kind::text,
       .metavar = "NAME",
       .help = "of a transcript: text, json, verbose_json, diarized_json, srt, vtt, tsv, lrc",
       .default_value = "text",
       .choices = {"text", "json", "verbose_json", "diarized_json", "srt", "vtt", "tsv", "lrc"}},
      {"--word-timestamps", Kind::flag, "", "word timestamps, in verbose_json"},
      {"--output", Kind::text, "DIR", "write each recording's transcript to a file in DIR"},
      {"--language", Kind::text, "CODE", "language of the audio; default: detected"},
      {.name = "--translate",
       .kind = Kind::optional,
       .metavar = "LANG",
       .help = "translate speech to LANG (en)",
       .implied = "en"},
      {"--to-language", Kind::text, "CODE", "language of the text, if the model can translate into it (Canary)"},
      {.name = "--hotwords",
       .kind = Kind::text,
       .metavar = "WORDS",
       .help = "names and terms that may occur",
       .whole = true},
      {"--no-itn", Kind::flag, "", "leave out punctuation, and write numbers in words (SenseVoice, Canary)"},
      {"--carry-initial-prompt", Kind::flag, "", "put the prompt before every window, not only the first"},
      {.name = "--hallucination-silence-threshold",
       .kind = Kind::number,
       .metavar = "S",
       .help = "skip silence longer than S seconds around doubtful words, and decode again after it",
       .min = 0,
       .max = 30,
       .whole = true},
      {.name = "--beam-size",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "beams of a beam search; 0: greedy",
       .default_value = "0",
       .min = 0,
       .max = 64},
      {.name = "--best-of",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "candidates sampled above temperature 0",
       .default_value = "1",
       .min = 1,
       .max = 64},
      {.name = "--clip-timestamps",
       .kind = Kind::text,
       .metavar = "LIST",
       .help = "only these parts, in seconds: START,END,…",
       .whole = true},
      {"--vad", Kind::flag, "", "skip everything but speech before decoding, so that long pauses cost no time"},
      {"--live", Kind::flag, "", "transcribe raw samples from stdin (s16le, mono) while they arrive; with --audio -"},
      {.name = "--sample-rate",
       .kind = Kind::integer,
       .metavar = "HZ",
       .help = "samples a second of --live",
       .default_value = "16000",
       .min = 1000,
       .max = 768'000},
      audio_limit_option(true),
  };
}

SpeechRun read_speech_run(const Args& args, const std::optional<std::string>& prompt) {
  SpeechRun run;
  run.model = args.word("model");
  run.files = args.list("--audio");
  run.format = read_format(args.text("--format"));
  run.output = args.text("--output");
  run.limit = read_audio_limit(args);
  run.json = args.has("--json");
  run.verbose = args.has("--verbose");
  const char* table = std::getenv("MLXK2_AUDIO_SEGMENTS");
  run.segment_table = table && std::string_view(table) == "1" && run.format == TranscriptFormat::text;
  run.stream = !args.has("--no-stream") && !run.json && run.output.empty() && isatty(STDOUT_FILENO) != 0;
  run.options.language = read_language(args, "--language");
  const std::string target = read_language(args, "--to-language");
  if (args.has("--translate")) translate_to_english(run.options);
  if (!target.empty()) translate_to(run.options, target);
  if (prompt) run.options.initial_prompt = *prompt;
  run.options.hotwords = args.text("--hotwords");
  // The default temperature is that of texts; a transcript's is 0.
  if (args.given.count("--temperature") != 0) {
    run.options.temperatures = temperatures_from(static_cast<float>(args.number("--temperature")));
  }
  run.options.beam_size = static_cast<int>(args.integer("--beam-size"));
  run.options.best_of = static_cast<int>(args.integer("--best-of"));
  if (args.has("--clip-timestamps")) run.options.clips = read_clips(args.text("--clip-timestamps"));
  run.options.itn = !args.has("--no-itn");
  run.options.carry_initial_prompt = args.has("--carry-initial-prompt");
  if (args.has("--hallucination-silence-threshold")) {
    run.options.hallucination_silence_threshold = args.number("--hallucination-silence-threshold");
    run.options.word_timestamps = true;  // which it goes by
  }
  run.options.only_voice = args.has("--vad");
  if (run.options.only_voice && !run.options.clips.empty()) {
    throw Error(ErrorKind::usage, "--vad and --clip-timestamps cannot be given together");
  }
  run.options.word_timestamps = run.options.word_timestamps || args.has("--word-timestamps");
  if (args.has("--seed")) run.options.seed = static_cast<uint64_t>(args.integer("--seed"));
  run.live = args.has("--live");
  run.sample_rate = static_cast<int>(args.integer("--sample-rate"));
  check_live(args, run);
  check_files(run);
  return run;
}

}  // namespace mlxk
