// `mlxk bench vision MODEL`: measures how fast a model processes images and answers.
#include <fmt/format.h>

#include <cstdio>
#include <limits>

#include "base/elapsed.h"
#include "base/error.h"
#include "bench/bench_options.h"
#include "bench/bench_record.h"
#include "bench/bench_run.h"
#include "bench/drawn_image.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "engine/open.h"
#include "run/run.h"
#include "run/run_images.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

struct VisionPoint {
  std::string image;  // "512x512", or a file's name
  int64_t count = 0;  // images per request
  int64_t prompt_tokens = 0, image_tokens = 0, completion_tokens = 0;
  Figure process, first_token, decode;  // seconds, seconds, tokens/s
  double begin_s = 0, sent_s = 0, done_s = 0;
};

/// The images of a point, and their name.
struct BenchImages {
  std::string name;
  std::vector<ImageFile> files;
};

VisionPoint measure(OpenedModel& model, const BenchImages& images, const Args& args, const BenchStart& start) {
  VisionPoint point{
      .image = images.name, .count = static_cast<int64_t>(images.files.size()), .begin_s = start.elapsed()};
  RunOptions options;
  options.prompt = "Describe the image.";
  options.sampling.temperature = 0;
  options.max_tokens = args.integer("--generate");
  std::vector<double> process, first, decode;
  for (int64_t run = -1; run < args.integer("--runs"); ++run) {  // the first run is the warm-up
    point.sent_s = start.elapsed();
    const auto begin = Clock::now();
    const PromptImages processed = process_images(*model.image_processor(), images.files);
    const double process_s = seconds_since(begin);
    PreparedRun prepared = prepare_run(model, options, first_messages(options, images.files.size()), {}, &processed);
    prepared.request.eos_token_ids.clear();  // so that the answer has its full length
    const GeneratedAnswer answer = run_prepared(model, options, std::move(prepared), [](const auto&) {});
    if (answer.reason == FinishReason::cancelled) throw Error(ErrorKind::cancelled, "interrupted");
    point.done_s = start.elapsed();
    point.prompt_tokens = answer.usage.prompt_tokens;
    point.image_tokens = answer.usage.image_tokens;
    point.completion_tokens = answer.usage.completion_tokens;
    if (run < 0) continue;
    process.push_back(process_s);
    first.push_back(process_s + answer.timings.first_token_s);
    decode.push_back(answer.tokens_per_second());
  }
  point.process = figure_of(process);
  point.first_token = figure_of(first);
  point.decode = figure_of(decode);
  return point;
}

Json point_json(const VisionPoint& point) {
  return {{"image", point.image},
          {"images", point.count},
          {"prompt_tokens", point.prompt_tokens},
          {"image_tokens", point.image_tokens},
          {"completion_tokens", point.completion_tokens},
          {"process_s", point.process.median},
          {"first_token_s", point.first_token.median},
          {"decode", {{"tokens_per_s", point.decode.median}, {"spread", point.decode.spread}}}};
}

ReportRecord make_record(OpenedModel& model, const VisionPoint& point, const BenchStart& start, double loaded_s,
                         bool first) {
  const double begin_s = first ? 0 : point.begin_s;
  ReportRecord record = bench_record(fmt::format("bench::vision[{},images={}]", point.image, point.count), start,
                                     begin_s, model.info(), model.worker().device(), "vision");
  record.performance.tokens_per_sec = point.decode.median;
  record.performance.duration_s = point.done_s - point.sent_s;
  record.performance.prompt_tokens = point.prompt_tokens;
  record.performance.completion_tokens = point.completion_tokens;
  record.performance.model_load_time_s = model.load_seconds();
  record.performance.time_to_first_token_s = point.first_token.median;
  if (first) {
    record.timeline.model_load_start_ms = 0;
    record.timeline.model_load_complete_ms = loaded_s * 1e3;
  }
  record.timeline.request_sent_ms = (point.sent_s - begin_s) * 1e3;
  record.timeline.stream_complete_ms = (point.done_s - begin_s) * 1e3;
  record.metadata.update(point_json(point));
  return record;
}

std::vector<BenchImages> read_bench_images(const Args& args) {
  std::vector<BenchImages> points;
  const auto add = [&](const std::string& name, const ImageFile& file) {
    for (const int64_t count : read_numbers(args, "--images", 64)) {
      points.push_back({name, std::vector<ImageFile>(static_cast<size_t>(count), file)});
    }
  };
  for (ImageFile& file : read_images(args.list("--image"))) {
    add(file.place.substr(file.place.find_last_of('/') + 1), file);
  }
  if (!points.empty()) return points;
  for (const int64_t side : read_numbers(args, "--size", 8192)) {
    const std::string name = fmt::format("{0}x{0}", side);
    add(name, {drawn_image(static_cast<int>(side)), name});
  }
  return points;
}

int run_bench_vision(const Args& args) {
  const auto images = read_bench_images(args);
  apply_threads(args);
  const InterruptGuard guard;
  const BenchStart start;
  LoadOptions load;
  load.media_cache_bytes = 0;  // every run encodes its images
  OpenedModel model(runnable_argument(args.word("model")), {.has_images = true}, open_engine, load);
  model.load();
  const double loaded_s = start.elapsed();
  std::vector<VisionPoint> points;
  for (const BenchImages& each : images) {
    points.push_back(measure(model, each, args, start));
    if (args.has("--report")) {
      append_records(args.text("--report"), {make_record(model, points.back(), start, loaded_s, points.size() == 1)});
    }
  }
  const std::string name = model.info().ref.name;
  if (args.has("--json")) {
    print_bench_json("bench vision", name, model.load_seconds(), points, point_json);
    return 0;
  }
  std::vector<TableRow> rows;
  for (const auto& point : points) {
    rows.push_back({printable(point.image), std::to_string(point.count),
                    fmt::format("{} ({} of images)", point.prompt_tokens, point.image_tokens),
                    fmt::format("{:.3f} s", point.process.median), fmt::format("{:.3f} s", point.first_token.median),
                    fmt::format("{:.1f} ({:.0f} %)", point.decode.median, 100 * point.decode.spread)});
  }
  print_line(fmt::format("{}: median (spread); loaded in {:.2f} s\n", printable(name), model.load_seconds()));
  print_line(render_table({"Image", "Images", "Prompt tokens", "Processing", "First token", "Decode tok/s"}, rows));
  return 0;
}

}  // namespace

extern const Command kBenchVisionCommand;
const Command kBenchVisionCommand = {
    .name = "bench vision",
    .help = "measure how fast a model processes images and answers on this machine",
    .positionals = {{"model", PositionalKind::required, kModelHelp}},
    .options =
        {{.name = "--image", .kind = OptionKind::many, .metavar = "FILE", .help = "image files; each is a point"},
         {.name = "--size",
          .kind = OptionKind::text,
          .metavar = "LIST",
          .help = "without --image: sides of generated square images in pixels, separated by commas",
          .default_value = "512"},
         {.name = "--images",
          .kind = OptionKind::text,
          .metavar = "LIST",
          .help = "numbers of copies of the image per request, separated by commas",
          .default_value = "1"},
         {.name = "--generate",
          .kind = OptionKind::integer,
          .metavar = "N",
          .help = "number of tokens of an answer",
          .default_value = "32",
          .min = 2,
          .max = 1 << 20},
         runs_option(),
         threads_option(),
         report_option(),
         json_option()},
    .run = run_bench_vision,
    .environment = model_places(),
};

}  // namespace mlxk
