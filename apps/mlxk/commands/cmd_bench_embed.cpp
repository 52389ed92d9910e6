// `mlxk bench embed MODEL`: measures how fast an embedding model embeds texts.
#include <fmt/format.h>

#include <cstdio>

#include "base/elapsed.h"
#include "bench/bench_options.h"
#include "bench/bench_record.h"
#include "bench/bench_run.h"
#include "bench/serve_prompts.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "embed/embed_options.h"
#include "engine/open.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

struct EmbedPoint {
  int64_t words = 0, batch = 0;
  int64_t tokens = 0;     // of all texts, by the model's tokenizer
  Figure texts, seconds;  // texts per second; seconds per batch
  double begin_s = 0, sent_s = 0, done_s = 0;

  double tokens_per_s() const { return texts.median * static_cast<double>(tokens) / static_cast<double>(batch); }
};

EmbedPoint measure(Embedder& embedder, int64_t words, int64_t batch, int64_t runs, const BenchStart& start) {
  EmbedPoint point{.words = words, .batch = batch, .begin_s = start.elapsed()};
  std::vector<EncodedText> texts;
  for (const auto& prompt : make_prompts(static_cast<size_t>(batch), {false, words, 1}, 0)) {
    texts.push_back(embedder.encoder().encode(prompt.text, {}, Truncate::end));
    point.tokens += static_cast<int64_t>(texts.back().ids.size());
  }
  std::vector<double> speeds, times;
  for (int64_t run = -1; run < runs; ++run) {  // the first run is the warm-up
    point.sent_s = start.elapsed();
    const auto begin = Clock::now();
    embedder.submit(texts).wait(interrupted);
    const double took = seconds_since(begin);
    point.done_s = start.elapsed();
    if (run < 0) continue;
    times.push_back(took);
    speeds.push_back(static_cast<double>(batch) / took);
  }
  point.texts = figure_of(speeds);
  point.seconds = figure_of(times);
  return point;
}

Json point_json(const EmbedPoint& point) {
  return {{"prompt_words", point.words},       {"batch", point.batch},         {"tokens", point.tokens},
          {"texts_per_s", point.texts.median}, {"spread", point.texts.spread}, {"tokens_per_s", point.tokens_per_s()},
          {"batch_s", point.seconds.median}};
}

ReportRecord make_record(Embedder& embedder, const EmbedPoint& point, double load_s, const BenchStart& start,
                         bool first) {
  const double begin_s = first ? 0 : point.begin_s;
  ReportRecord record = bench_record(fmt::format("bench::embed[words={},batch={}]", point.words, point.batch), start,
                                     begin_s, embedder.info(), embedder.device(), "text");
  record.performance.tokens_per_sec = point.tokens_per_s();
  record.performance.duration_s = point.seconds.median;
  record.performance.prompt_tokens = point.tokens;
  record.performance.model_load_time_s = load_s;
  if (first) {
    record.timeline.model_load_start_ms = 0;
    record.timeline.model_load_complete_ms = load_s * 1e3;
  }
  record.timeline.request_sent_ms = (point.sent_s - begin_s) * 1e3;
  record.timeline.stream_complete_ms = (point.done_s - begin_s) * 1e3;
  record.metadata.update(point_json(point));
  return record;
}

int bench(const Args& args) {
  const auto lengths = read_numbers(args, "--prompt", 1 << 20), batches = read_numbers(args, "--batch", 4096);
  apply_threads(args);
  const InterruptGuard guard;
  const BenchStart start;
  Embedder embedder(runnable_argument(args.word("model")), EncoderTask::embed, open_engine);
  const double load_s = start.elapsed();
  std::vector<EmbedPoint> points;
  for (const int64_t words : lengths) {
    for (const int64_t batch : batches) {
      points.push_back(measure(embedder, words, batch, args.integer("--runs"), start));
      if (args.has("--report")) {
        append_records(args.text("--report"),
                       {make_record(embedder, points.back(), load_s, start, points.size() == 1)});
      }
    }
  }
  if (args.has("--json")) {
    print_bench_json("bench embed", shown_name(embedder.info()), load_s, points, point_json);
    return 0;
  }
  std::vector<TableRow> rows;
  for (const auto& point : points) {
    rows.push_back({std::to_string(point.words), std::to_string(point.batch), std::to_string(point.tokens),
                    fmt::format("{:.1f} ({:.0f} %)", point.texts.median, 100 * point.texts.spread),
                    fmt::format("{:.0f}", point.tokens_per_s()), fmt::format("{:.4f} s", point.seconds.median)});
  }
  print_line(fmt::format("{}: median (spread); loaded in {:.2f} s\n", printable(shown_name(embedder.info())), load_s));
  print_line(render_table({"Words", "Batch", "Tokens", "Texts/s", "Tokens/s", "Batch time"}, rows));
  return 0;
}

int run_bench_embed(const Args& args) {
  return with_encoder_errors("NotAnEmbedder", [&] { return bench(args); });
}

}  // namespace

extern const Command kBenchEmbedCommand;
const Command kBenchEmbedCommand = {
    .name = "bench embed",
    .help = "measure how fast an embedding model runs on this machine",
    .positionals = {{"model", PositionalKind::required, kModelHelp}},
    .options = {{.name = "--prompt",
                 .kind = OptionKind::text,
                 .metavar = "LIST",
                 .help = "lengths of the texts in words, separated by commas",
                 .default_value = "128"},
                {.name = "--batch",
                 .kind = OptionKind::text,
                 .metavar = "LIST",
                 .help = "batch sizes (texts per request), separated by commas",
                 .default_value = "1,32"},
                runs_option(),
                threads_option(),
                report_option(),
                json_option()},
    .run = run_bench_embed,
    .environment = model_places(),
};

}  // namespace mlxk
