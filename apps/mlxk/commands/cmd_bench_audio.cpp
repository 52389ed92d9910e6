// `mlxk bench audio MODEL FILE…`: measures how fast a model transcribes recordings.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/elapsed.h"
#include "base/error.h"
#include "bench/bench_options.h"
#include "bench/bench_record.h"
#include "bench/bench_run.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "media/audio.h"
#include "run/loaded_speech.h"
#include "run/run_speech.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

struct AudioPoint {
  std::string file;
  double duration = 0;      // seconds of sound
  int64_t tokens = 0;       // of the transcript
  Figure seconds, first_s;  // of a transcription; to its first segment
  double begin_s = 0, sent_s = 0, done_s = 0, last_first_s = 0;

  double realtime() const { return duration / seconds.median; }
  double tokens_per_s() const { return static_cast<double>(tokens) / seconds.median; }
};

AudioPoint measure(const LoadedSpeech& model, const std::string& file, const Args& args, const BenchStart& start) {
  AudioPoint point{.file = file, .begin_s = start.elapsed()};
  TranscribeOptions options;
  options.language = args.text("--language");
  std::vector<double> times, firsts;
  for (int64_t run = -1; run < args.integer("--runs"); ++run) {  // the first run is the warm-up
    AudioSource source(open_bytes(file), file, read_audio_limit(args));
    point.sent_s = start.elapsed();
    const auto begin = Clock::now();
    double first = 0;
    TranscribeEvents events;
    events.cancelled = interrupted;
    events.segment = [&](const SpeechSegment&) {
      if (first == 0) first = seconds_since(begin);
    };
    const Transcript transcript = model.recognizer->transcribe(source, options, events);
    const double took = seconds_since(begin);
    point.done_s = start.elapsed();
    point.last_first_s = first == 0 ? took : first;
    point.duration = transcript.duration;
    point.tokens = 0;
    for (const auto& segment : transcript.segments) point.tokens += static_cast<int64_t>(segment.tokens.size());
    if (run < 0) continue;
    times.push_back(took);
    firsts.push_back(point.last_first_s);
  }
  point.seconds = figure_of(times);
  point.first_s = figure_of(firsts);
  return point;
}

Json point_json(const AudioPoint& point) {
  return {{"file", std::filesystem::path(point.file).filename().string()},
          {"audio_s", point.duration},
          {"transcribe_s", point.seconds.median},
          {"spread", point.seconds.spread},
          {"realtime_factor", point.realtime()},
          {"first_segment_s", point.first_s.median},
          {"tokens", point.tokens},
          {"tokens_per_s", point.tokens_per_s()}};
}

ReportRecord make_record(const ModelInfo& info, const LoadedSpeech& model, const AudioPoint& point,
                         const BenchStart& start, double loaded_s, bool first) {
  const double begin_s = first ? 0 : point.begin_s;
  const Json facts = point_json(point);
  ReportRecord record = bench_record(fmt::format("bench::audio[{}]", facts["file"].get<std::string>()), start, begin_s,
                                     info, model.worker().device(), "audio");
  record.performance.tokens_per_sec = point.tokens_per_s();
  record.performance.duration_s = point.seconds.median;
  record.performance.completion_tokens = point.tokens;
  record.performance.model_load_time_s = model.seconds;
  record.performance.time_to_first_token_s = point.first_s.median;
  if (first) {
    record.timeline.model_load_start_ms = (loaded_s - model.seconds) * 1e3;
    record.timeline.model_load_complete_ms = loaded_s * 1e3;
  }
  record.timeline.request_sent_ms = (point.sent_s - begin_s) * 1e3;
  record.timeline.first_token_ms = (point.sent_s + point.last_first_s - begin_s) * 1e3;
  record.timeline.stream_complete_ms = (point.done_s - begin_s) * 1e3;
  record.metadata.update(facts);
  return record;
}

int run_bench_audio(const Args& args) {
  const auto files = args.words("file");
  if (files.empty()) throw Error(ErrorKind::usage, "the following argument is required: file");
  apply_threads(args);
  const InterruptGuard guard;
  const BenchStart start;
  const ModelInfo info = find_speech_model(args.word("model"));
  const LoadedSpeech model = load_speech(args.word("model"), info);
  const double loaded_s = start.elapsed();
  std::vector<AudioPoint> points;
  for (const std::string& file : files) {
    points.push_back(measure(model, file, args, start));
    if (args.has("--report")) {
      append_records(args.text("--report"),
                     {make_record(info, model, points.back(), start, loaded_s, points.size() == 1)});
    }
  }
  if (args.has("--json")) {
    print_bench_json("bench audio", info.ref.name, model.seconds, points, point_json);
    return 0;
  }
  std::vector<TableRow> rows;
  for (const auto& point : points) {
    rows.push_back({printable(std::filesystem::path(point.file).filename().string()),
                    fmt::format("{:.1f} s", point.duration),
                    fmt::format("{:.2f} s ({:.0f} %)", point.seconds.median, 100 * point.seconds.spread),
                    fmt::format("{:.1f}", point.realtime()), fmt::format("{:.2f} s", point.first_s.median),
                    fmt::format("{:.1f}", point.tokens_per_s())});
  }
  print_line(fmt::format("{}: median (spread); loaded in {:.2f} s\n", printable(info.ref.name), model.seconds));
  print_line(render_table({"Recording", "Length", "Time", "Times real time", "First segment", "Tokens/s"}, rows));
  return 0;
}

}  // namespace

extern const Command kBenchAudioCommand;
const Command kBenchAudioCommand = {
    .name = "bench audio",
    .help = "measure how fast a speech model transcribes recordings",
    .positionals = {{"model", PositionalKind::required, kModelHelp},
                    {"file", PositionalKind::rest, "recordings; each is a point"}},
    .options = {{.name = "--language",
                 .kind = OptionKind::text,
                 .metavar = "L",
                 .help = "language of the speech, a code or a name; default: detected"},
                audio_limit_option(),
                runs_option(),
                threads_option(),
                report_option(),
                json_option()},
    .run = run_bench_audio,
    .environment = model_places(),
};

}  // namespace mlxk
