// `mlxk bench MODEL`: how fast this machine runs a model.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/counted.h"
#include "base/error.h"
#include "base/file.h"
#include "bench/bench_options.h"
#include "bench/bench_record.h"
#include "bench/bench_run.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "engine/open.h"
#include "json/api.h"
#include "probe/files.h"
#include "probe/model_entry.h"
#include "probe/safetensors_header.h"
#include "probe/weight_set.h"
#include "report/bar_chart.h"
#include "report/machine_facts.h"
#include "report/record.h"
#include "serving/opened_model.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {
constexpr uint64_t kBandwidthBytes = uint64_t{512} << 20;
constexpr int64_t kMaxTokens = int64_t{1} << 24;
constexpr int64_t kMaxBatch = 1024;

struct BenchResult {
  BenchPoint point;
  Figure prefill, decode, first_token;
  uint64_t peak_bytes = 0;
  double begin_s = 0, sent_s = 0, complete_s = 0;  // after the start; the latter two of the last run
  double last_first_token_s = 0;                   // after the request was sent
};

/// Every batch size at every prompt length; refuses points that exceed the context.
std::vector<BenchPoint> read_points(const Args& args, const ModelInfo& model) {
  std::vector<BenchPoint> points;
  const int64_t generate = args.integer("--generate");
  for (const int64_t prompt : read_numbers(args, "--prompt", kMaxTokens)) {
    if (model.context_length > 0 && prompt + generate > model.context_length) {
      throw Error(ErrorKind::invalid, fmt::format("--prompt {} and --generate {} exceed the context of '{}', {} tokens",
                                                  prompt, generate, model.ref.name, model.context_length));
    }
    for (const int64_t batch : read_numbers(args, "--batch", kMaxBatch)) {
      points.push_back({static_cast<int>(batch), prompt, generate});
    }
  }
  return points;
}

/// Bytes of weights that a decode step reads: all except an embedding table of which a step reads one row. 0: unknown
/// (a mixture of experts, whose steps read some of them).
uint64_t step_bytes(const ModelInfo& model) {
  uint64_t all = 0, embedding = 0;
  bool has_head = false;
  const ModelFiles files(model.ref.path);
  for (const ModelFile* file : weight_set(files)) {
    if (!has_extension(*file, ".safetensors")) continue;
    for (const auto& tensor : read_safetensors_header(model.ref.path / file->path).tensors) {
      const auto holds = [&](const char* part) { return tensor.name.find(part) != std::string::npos; };
      if (holds("experts.") || holds("switch_mlp")) return 0;
      has_head = has_head || holds("lm_head.");
      (holds("embed_tokens.") ? embedding : all) += tensor.end - tensor.begin;
    }
  }
  return has_head ? all : all + embedding;
}

/// A lower bound of the bytes a second that the decode steps of a point read: the weights once a step, whatever the
/// batch.
double decode_bandwidth(const BenchResult& result, uint64_t step_bytes) {
  return result.decode.median / result.point.batch * static_cast<double>(step_bytes);
}

Json figure_json(const Figure& figure) { return {{"tokens_per_s", figure.median}, {"spread", figure.spread}}; }

Json result_json(const BenchResult& result, uint64_t step_bytes) {
  Json decode = figure_json(result.decode);
  if (step_bytes > 0) decode["read_bytes_per_s"] = decode_bandwidth(result, step_bytes);
  return {{"batch", result.point.batch},
          {"prompt_tokens", result.point.prompt},
          {"generate_tokens", result.point.generate},
          {"prefill", figure_json(result.prefill)},
          {"decode", std::move(decode)},
          {"first_token_s", result.first_token.median},
          {"peak_bytes", result.peak_bytes}};
}

std::string results_table(const std::vector<BenchResult>& results, uint64_t step_bytes, double bandwidth) {
  const auto speed = [](const Figure& figure) {
    return fmt::format("{:.1f} ({:.0f} %)", figure.median, 100 * figure.spread);
  };
  std::vector<TableRow> rows;
  for (const auto& result : results) {
    const double read = decode_bandwidth(result, step_bytes);
    rows.push_back({std::to_string(result.point.prompt), std::to_string(result.point.batch), speed(result.prefill),
                    speed(result.decode), fmt::format("{:.3f} s", result.first_token.median),
                    step_bytes > 0 ? fmt::format("{:.1f} GB/s ({:.0f} %)", read / 1e9, 100 * read / bandwidth) : "-",
                    fmt::format("{:.0f} MB", static_cast<double>(result.peak_bytes) / 1e6)});
  }
  return render_table(
      {"Prompt", "Batch", "Prefill tok/s", "Decode tok/s", "First token", "Weights read", "Peak memory"}, rows);
}

std::string plot(const std::string& model, const std::vector<BenchResult>& results) {
  PlotPanel prefill{"prefill, tokens/s", {}}, decode{"decode, tokens/s", {}};
  const auto bar = [](const BenchPoint& point, const Figure& figure) {
    const double half = figure.median * figure.spread / 2;
    return PlotBar{fmt::format("{} tokens × {}", point.prompt, point.batch), figure.median, figure.median - half,
                   figure.median + half};
  };
  for (const auto& result : results) {
    prefill.bars.push_back(bar(result.point, result.prefill));
    decode.bars.push_back(bar(result.point, result.decode));
  }
  return bar_chart_svg(model, {prefill, decode});
}

/// One line on a terminal's stderr that is overwritten, and removed at the end, whatever the end is.
class BenchProgress {
 public:
  ~BenchProgress() { show(""); }
  void show(const std::string& text) {
    if (!isatty(STDERR_FILENO)) return;
    fmt::print(stderr, "\r\033[K{}", text);
    std::fflush(stderr);
  }
};

/// The record of a point; the first record's test includes the load.
ReportRecord make_record(OpenedModel& model, const BenchResult& result, const BenchStart& start, double loaded_s,
                         const Json& machine, bool first) {
  const BenchPoint& point = result.point;
  const double begin_s = first ? 0 : result.begin_s;
  ReportRecord record = bench_record(
      fmt::format("bench::text[prompt={},generate={},batch={}]", point.prompt, point.generate, point.batch), start,
      begin_s, model.info(), model.worker().device(), "text");
  record.performance.tokens_per_sec = result.decode.median;
  record.performance.duration_s = result.complete_s - result.sent_s;
  record.performance.prompt_tokens = point.batch * point.prompt;
  record.performance.completion_tokens = point.batch * point.generate;
  record.performance.model_load_time_s = model.load_seconds();
  record.performance.time_to_first_token_s = result.first_token.median;
  record.performance.peak_ram_gb = as_gib(result.peak_bytes);
  if (first) {
    record.timeline.model_load_start_ms = 0;
    record.timeline.model_load_complete_ms = loaded_s * 1e3;
  }
  record.timeline.request_sent_ms = (result.sent_s - begin_s) * 1e3;
  record.timeline.first_token_ms = (result.sent_s + result.last_first_token_s - begin_s) * 1e3;
  record.timeline.stream_complete_ms = (result.complete_s - begin_s) * 1e3;
  record.metadata.update({{"batch", point.batch},
                          {"prefill_tokens_per_sec", result.prefill.median},
                          {"prefill_spread", result.prefill.spread},
                          {"decode_spread", result.decode.spread}});
  record.metadata.update(machine);
  return record;
}

/// The bandwidth of the memory that holds the weights, in bytes per second.
double weights_bandwidth(Worker& worker, int threads) {
  const double gpu = worker.gpu_bandwidth();
  return gpu > 0 ? gpu : read_bandwidth(threads, kBandwidthBytes);
}

BenchResult measure(OpenedModel& model, const BenchPoint& point, int64_t runs, int threads,
                    std::vector<double>& bandwidths, const BenchStart& start) {
  std::vector<double> prefill, decode, first;
  BenchResult out{.point = point, .begin_s = start.elapsed()};
  BenchProgress line;
  for (int64_t run = -1; run < runs; ++run) {  // the first run is the warm-up
    line.show(fmt::format("prompt {}, batch {}: {}", point.prompt, point.batch,
                          run < 0 ? "warming up" : fmt::format("run {} of {}", run + 1, runs)));
    // Measured beside every run, so that a busy neighbour slows both.
    if (run >= 0) bandwidths.push_back(weights_bandwidth(model.worker(), threads));
    reset_peak_memory();
    out.sent_s = start.elapsed();
    const BenchRun result = run_point(model.worker(), model.handle(), point, interrupted);
    out.complete_s = start.elapsed();
    out.last_first_token_s = result.first_token_s;
    out.peak_bytes = std::max(out.peak_bytes, peak_memory());
    if (run < 0) continue;
    prefill.push_back(result.prefill);
    decode.push_back(result.decode);
    first.push_back(result.first_token_s);
  }
  out.prefill = figure_of(prefill);
  out.decode = figure_of(decode);
  out.first_token = figure_of(first);
  return out;
}

/// The model that was named, else the default one, which a line on stderr then names.
std::string bench_model(const Args& args) {
  if (const std::string word = args.word("model"); !word.empty()) return runnable_argument(word);
  const std::string model = default_model();
  if (model.empty()) {
    throw Error(ErrorKind::usage, "bench needs a model: there is no default model",
                "`./quickstart` makes one, MLXK_DEFAULT_MODEL names one, `mlxk list` shows the models");
  }
  fmt::print(stderr, "Model: {}\n", printable(model));
  return runnable_argument(model);
}

int run_bench(const Args& args) {
  const int threads = apply_threads(args);
  const BenchStart start;
  OpenedModel model(bench_model(args), {}, open_engine);
  const auto points = read_points(args, model.info());
  const int64_t runs = args.integer("--runs");
  const uint64_t bytes = step_bytes(model.info());
  model.load();
  const InterruptGuard guard;
  std::vector<BenchResult> results;
  std::vector<double> bandwidths;
  const double loaded_s = start.elapsed();
  for (const auto& point : points) {
    results.push_back(measure(model, point, runs, threads, bandwidths, start));
    if (!args.has("--report")) continue;
    const Json facts = {{"runs", runs}, {"threads", threads}, {"read_bytes_per_s", figure_of(bandwidths).median}};
    append_records(args.text("--report"),
                   {make_record(model, results.back(), start, loaded_s, facts, results.size() == 1)});
  }
  const double bandwidth = figure_of(bandwidths).median;
  const MachineFacts machine = machine_facts();
  const DeviceFacts device = model.worker().device();
  const std::string name = model.info().ref.name;
  if (args.has("--plot")) write_file_atomic(args.text("--plot"), plot(name, results));
  if (args.has("--json")) {
    Json list = Json::array();
    for (const auto& result : results) list.push_back(result_json(result, bytes));
    print_json(success_envelope("bench", {{"model", name},
                                          {"runs", runs},
                                          {"load_s", model.load_seconds()},
                                          {"weight_bytes", model.handle()->facts().weight_bytes},
                                          {"step_bytes", bytes},
                                          {"results", std::move(list)},
                                          {"machine",
                                           {{"cpu", machine.cpu},
                                            {"features", machine.features},
                                            {"cores", machine.cores},
                                            {"threads", threads},
                                            {"memory_bytes", machine.memory_bytes},
                                            {"read_bytes_per_s", bandwidth},
                                            {"device", device.name},
                                            {"gpu", device.gpu},
                                            {"gpu_memory_bytes", device.gpu_memory_bytes},
                                            {"kernels", device.kernels},
                                            {"mlx_version", device.mlx_version}}}}));
    return 0;
  }
  print_line(fmt::format("{}\n{} generated tokens, {} after a warm-up: median (spread)\n", name,
                         points.front().generate, counted(runs, "run")));
  print_line(results_table(results, bytes, bandwidth));
  const std::string cores =
      fmt::format("{}; {} of {} cores", machine.cpu.empty() ? "unknown CPU" : machine.cpu, threads, machine.cores);
  const std::string memory =
      device.name == "cpu" ? fmt::format("{}, which read {:.1f} GB/s", cores, bandwidth / 1e9)
                           : fmt::format("{}, {}, {:.1f} GB/s; {}", device.gpu.empty() ? "unknown GPU" : device.gpu,
                                         human_size(device.gpu_memory_bytes), bandwidth / 1e9, cores);
  print_line(fmt::format("{}; {}libmlx {} ({}); loaded in {:.2f} s", memory,
                         device.kernels.empty() ? "" : fmt::format("kernels {}; ", device.kernels), device.mlx_version,
                         device.name, model.load_seconds()));
  return 0;
}
}  // namespace

extern const Command kBenchCommand;
const Command kBenchCommand = {
    .name = "bench",
    .help = "measure how fast a model runs on this machine; also: bench serve, audio, vision, embed",
    .positionals = {{"model", PositionalKind::optional,
                     std::string(kModelHelp) + "; default: the one that `mlxk list` names"}},
    .options = {{.name = "--prompt",
                 .kind = OptionKind::text,
                 .metavar = "LIST",
                 .help = "prompt lengths in tokens, separated by commas",
                 .default_value = "512"},
                {.name = "--generate",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "tokens of an answer",
                 .default_value = "128",
                 .min = 2,
                 .max = kMaxTokens},
                {.name = "--batch",
                 .kind = OptionKind::text,
                 .metavar = "LIST",
                 .help = "requests at once, separated by commas",
                 .default_value = "1"},
                runs_option(),
                threads_option(),
                {.name = "--plot", .kind = OptionKind::text, .metavar = "FILE", .help = "write a chart as SVG"},
                report_option(),
                json_option()},
    .run = run_bench,
    .environment = model_places({{"MLXK_DEFAULT_MODEL", "the default model; if not set, the one that quickstart made"},
                                 {"MLXK_CPU_ISA", "instruction set of the CPU kernels; default: the best"}}),
};

}  // namespace mlxk
