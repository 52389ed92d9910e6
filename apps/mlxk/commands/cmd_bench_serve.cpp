// `mlxk bench serve URL|MODEL`: measures a server under load, as its clients see it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "base/counted.h"
#include "base/elapsed.h"
#include "base/error.h"
#include "base/file.h"
#include "bench/bench_options.h"
#include "bench/bench_record.h"
#include "bench/own_server.h"
#include "bench/serve_load.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "http/client.h"
#include "http/reach.h"
#include "http/url.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "json/json.h"
#include "json/member.h"
#include "probe/model_info.h"
#include "report/record.h"
#include "report/system.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "terminal/progress_line.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

bool is_url(const std::string& target) { return !parse_origin(target).scheme.empty(); }

/// The address without a final slash or /v1.
std::string base_url(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  if (url.ends_with("/v1")) url.resize(url.size() - 3);
  return url;
}

/// Disables proxies, for requests to this machine.
void leave_out_proxy() {
  setenv("no_proxy", "*", 1);
  setenv("NO_PROXY", "*", 1);
}

std::string read_key(const std::string& path) {
  if (path.empty()) return {};
  std::string key = read_file(path, 64 << 10);
  key.resize(std::min(key.find_first_of("\r\n"), key.size()));
  if (key.empty()) throw Error(ErrorKind::invalid, fmt::format("{}: the first line has no key", path));
  return "Bearer " + key;
}

Json read_body(const Args& args) {
  Json body = Json::object();
  if (args.has("--body")) body = parse_json(args.text("--body"), "argument --body");
  if (!body.is_object()) throw Error(ErrorKind::usage, "argument --body: must be a JSON object");
  if (args.has("--ignore-eos")) body["ignore_eos"] = true;
  if (!body.contains("temperature")) body["temperature"] = args.number("--temperature");
  return body;
}

std::vector<LoadPoint> read_points(const Args& args) {
  if (args.has("--rate") && args.has("--clients")) {
    throw Error(ErrorKind::usage, "--rate and --clients cannot be combined");
  }
  std::vector<LoadPoint> points;
  if (args.has("--rate")) {
    for (const double rate : read_rates(args, "--rate")) points.push_back({.rate = rate});
  } else {
    for (const int64_t clients : read_numbers(args, "--clients", 4096))
      points.push_back({0, static_cast<int>(clients)});
  }
  return points;
}

/// The prompts of a point: generated, or the first `count` of a file, which is repeated if it has fewer.
std::vector<LoadPrompt> read_load(const Args& args, size_t count, uint64_t seed) {
  const int64_t most = args.integer("--max-tokens");
  std::vector<LoadPrompt> prompts;
  if (args.has("--prompts")) {
    const auto all = read_prompts(args.text("--prompts"));
    for (size_t i = 0; i < count; ++i) prompts.push_back(all[i % all.size()]);
  } else {
    prompts = make_prompts(count, read_lengths(args.text("--lengths")), seed);
  }
  for (LoadPrompt& prompt : prompts) {
    prompt.max_tokens = prompt.max_tokens == 0 ? most : std::min(prompt.max_tokens, most);
  }
  return prompts;
}

std::string point_name(const LoadPoint& point) {
  return point.rate > 0 ? fmt::format("rate={}", point.rate) : fmt::format("clients={}", point.clients);
}

Json result_json(const LoadResult& result) {
  Json failures = Json::array();
  for (const auto& [text, count] : result.failures) failures.push_back({{"message", text}, {"count", count}});
  return {{"rate", result.point.rate > 0 ? Json(result.point.rate) : Json(nullptr)},
          {"clients", result.point.clients > 0 ? Json(result.point.clients) : Json(nullptr)},
          {"requests", result.requests},
          {"failed", result.failed},
          {"duration_s", result.seconds},
          {"requests_per_s", result.requests_per_s()},
          {"prompt_tokens", result.prompt_tokens},
          {"completion_tokens", result.completion_tokens},
          {"tokens_per_s", result.tokens_per_s()},
          {"ttft_s", to_json(result.first_token_s)},
          {"itl_s", to_json(result.gap_s)},
          {"tpot_s", to_json(result.per_token_s)},
          {"e2el_s", to_json(result.end_to_end_s)},
          {"goodput_per_s", result.good_per_s ? Json(*result.good_per_s) : Json(nullptr)},
          {"failures", std::move(failures)}};
}

std::string results_table(const std::vector<LoadResult>& results) {
  std::vector<TableRow> rows;
  for (const auto& result : results) {
    const auto& point = result.point;
    rows.push_back(
        {point.rate > 0 ? fmt::format("{}/s", point.rate) : counted(static_cast<uint64_t>(point.clients), "client"),
         fmt::format("{} ({} failed)", result.requests, result.failed), fmt::format("{:.2f}", result.requests_per_s()),
         fmt::format("{:.1f}", result.tokens_per_s()), percentiles_text(result.first_token_s, 1e3),
         percentiles_text(result.gap_s, 1e3), percentiles_text(result.per_token_s, 1e3),
         percentiles_text(result.end_to_end_s, 1),
         result.good_per_s ? fmt::format("{:.2f}", *result.good_per_s) : "–"});
  }
  return render_table(
      {"Load", "Requests", "Requests/s", "Tokens/s", "TTFT, ms", "ITL, ms", "TPOT, ms", "E2EL, s", "Good/s"}, rows);
}

/// One run of the command: the target of the load, and the common facts of the records.
struct Bench {
  LoadTarget target;
  std::optional<ModelInfo> info;      // of the model of our own server
  std::unique_ptr<OwnServer> server;  // our own server; null: a URL was given
  BenchStart start;                   // before the server was started
};

ReportRecord make_record(const Bench& bench, const LoadResult& result, double begin_s, bool first) {
  ReportRecord record;
  record.test = fmt::format("bench::serve[{},requests={}]", point_name(result.point), result.requests);
  record.outcome = result.failed < result.requests ? Outcome::passed : Outcome::failed;
  const double start_s = first ? 0 : begin_s;  // the first record's test includes the server's start
  set_times(record, bench.start.ts + start_s, begin_s - start_s + result.seconds);
  record.model.id = bench.target.model;
  if (bench.info) record.model = report_model(*bench.info);
  record.performance = {.tokens_per_sec = result.tokens_per_s(),
                        .duration_s = result.seconds,
                        .prompt_tokens = result.prompt_tokens,
                        .completion_tokens = result.completion_tokens};
  if (result.first_token_s) record.performance.time_to_first_token_s = result.first_token_s->p50;
  const double before = (begin_s - start_s) * 1e3;
  if (result.failed < result.requests) {
    record.timeline.request_sent_ms = before + result.first_sent * 1e3;
    record.timeline.first_token_ms = before + result.first_token * 1e3;
    record.timeline.stream_complete_ms = before + result.last_piece * 1e3;
  }
  if (bench.server) {
    record.performance.model_load_time_s = bench.server->ready_s();
    if (const uint64_t peak = bench.server->peak_memory(); peak > 0) {
      record.performance.peak_ram_gb = as_gib(peak);
      record.performance.stable_ram_gb = as_gib(bench.server->held_memory());
    }
    if (first) {
      record.timeline.server_start_ms = 0;
      record.timeline.server_ready_ms = bench.server->ready_s() * 1e3;
    }
  }
  record.system = this_system("");
  record.system_health = bench.start.health;
  record.metadata = {{"inference_modality", "text"},
                     {"url", bench.server ? Json(nullptr) : Json(url_origin(bench.target.url))},
                     {"load", result_json(result)}};
  return record;
}

LoadResult measure(const Bench& bench, const LoadPoint& point, const std::vector<LoadPrompt>& prompts, uint64_t seed,
                   const Goodput& goodput, ProgressLine& line) {
  const auto start = Clock::now();
  const auto answers = send_load(
      bench.target, point, prompts, seed,
      [&](size_t ended) { line.show_count(point_name(point), static_cast<int64_t>(ended)); }, interrupted);
  return evaluate(point, answers, seconds_since(start), goodput);
}

/// Sends requests that are not counted, so that a server's one-time work is done before. Throws if none succeeds.
void warm_up(const Bench& bench, const std::vector<LoadPrompt>& prompts, ProgressLine& line) {
  if (prompts.empty()) return;
  const LoadResult result = measure(bench, {.clients = 1}, prompts, 0, {}, line);
  if (result.failed < result.requests) return;
  throw Error(ErrorKind::network, fmt::format("{}: no request of the warm-up succeeded: {}",
                                              url_origin(bench.target.url), result.failures.begin()->first));
}

int run_bench_serve(const Args& args) {
  const auto points = read_points(args);
  const Goodput goodput = read_goodput(args.text("--goodput"));
  const auto seed = static_cast<uint64_t>(args.integer("--seed"));
  const auto prompts = read_load(args, static_cast<size_t>(args.integer("--requests")), seed);
  const auto warm = read_load(args, static_cast<size_t>(args.integer("--warmup")), seed + 1);
  Bench bench;
  bench.target.chat = args.text("--endpoint") == "chat";
  if (!bench.target.chat && args.text("--endpoint") != "completions") {
    throw Error(ErrorKind::usage,
                fmt::format("argument --endpoint: must be chat or completions, got '{}'", args.text("--endpoint")));
  }
  bench.target.body = read_body(args);
  bench.target.authorization = read_key(args.text("--api-key-file"));
  bench.target.timeout_s = static_cast<int>(args.integer("--timeout"));

  const InterruptGuard guard;
  bench.start = BenchStart();
  const std::string word = args.word("server");
  if (is_url(word)) {
    bench.target.url = base_url(word);
    if (reach_of_host(parse_origin(word).host) == Reach::loopback) leave_out_proxy();
  } else {
    const std::string model = runnable_argument(word);
    bench.info = probe_model(resolve_model(model));
    std::vector<std::string> arguments = {"--model", model, "--log-level", "error"};
    if (args.has("--threads")) arguments.insert(arguments.end(), {"--threads", args.text("--threads")});
    leave_out_proxy();
    bench.server = std::make_unique<OwnServer>(arguments, interrupted);
    bench.target.url = bench.server->url();
  }
  bench.target.model = args.has("--model") ? args.text("--model") : first_model(bench.target);
  std::vector<LoadResult> results;
  {
    ProgressLine line(args.has("--json"));
    warm_up(bench, warm, line);
    for (size_t i = 0; i < points.size(); ++i) {
      const double begin_s = bench.start.elapsed();
      results.push_back(measure(bench, points[i], prompts, seed + i, goodput, line));
      if (args.has("--report"))
        append_records(args.text("--report"), {make_record(bench, results[i], begin_s, i == 0)});
    }
  }
  if (args.has("--json")) {
    Json list = Json::array();
    for (const auto& result : results) list.push_back(result_json(result));
    print_json(success_envelope("bench serve", {{"url", bench.target.url},
                                                {"model", bench.target.model},
                                                {"endpoint", args.text("--endpoint")},
                                                {"seed", seed},
                                                {"results", std::move(list)}}));
    return 0;
  }
  print_line(fmt::format("{} at {}: p50 / p95 / p99\n", printable(bench.target.model), url_origin(bench.target.url)));
  print_line(results_table(results));
  for (const auto& result : results) {
    for (const auto& [text, count] : result.failures) {
      print_line(printable(fmt::format("{}: {} failed: {}", point_name(result.point), count, text)));
    }
  }
  return 0;
}

std::vector<Option> options() {
  using Kind = OptionKind;
  return {
      {.name = "--clients",
       .kind = Kind::text,
       .metavar = "LIST",
       .help = "closed loop: numbers of clients, separated by commas; each client sends its next request when its last "
               "one has ended",
       .default_value = "1,4,16"},
      {.name = "--rate",
       .kind = Kind::text,
       .metavar = "LIST",
       .help = "open loop: requests per second, separated by commas, sent at random times without waiting for earlier "
               "ones"},
      {.name = "--requests",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "number of requests of each point",
       .default_value = "100",
       .min = 1,
       .max = 1'000'000},
      {.name = "--warmup",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "number of requests before the first point, which are not counted",
       .default_value = "2",
       .min = 0,
       .max = 10'000},
      {.name = "--prompts",
       .kind = Kind::text,
       .metavar = "FILE",
       .help =
           "JSON Lines with \"prompt\" or \"messages\", a JSON list of ShareGPT conversations, or one prompt per line"},
      {.name = "--lengths",
       .kind = Kind::text,
       .metavar = "L",
       .help = "without --prompts: sharegpt (lengths of ShareGPT conversations), or PROMPT:ANSWER in tokens",
       .default_value = "sharegpt"},
      {.name = "--max-tokens",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "maximum number of tokens of an answer",
       .default_value = "1024",
       .min = 1,
       .max = 1 << 20},
      {.name = "--ignore-eos", .help = "request answers of full length (a field of vLLM, llama.cpp and mlxk)"},
      {.name = "--temperature",
       .kind = Kind::number,
       .metavar = "T",
       .help = "sampling temperature",
       .default_value = "0",
       .min = 0,
       .max = 10},
      {.name = "--body",
       .kind = Kind::text,
       .metavar = "JSON",
       .help = "additional fields of every request, as an object"},
      {.name = "--endpoint",
       .kind = Kind::text,
       .metavar = "E",
       .help = "chat or completions",
       .default_value = "chat",
       .choices = {"chat", "completions"}},
      {.name = "--model",
       .kind = Kind::text,
       .metavar = "NAME",
       .help = "the model to request; default: the first in the server's list"},
      {.name = "--goodput",
       .kind = Kind::text,
       .metavar = "LIMITS",
       .help = "count the answers within these limits in milliseconds, such as ttft:500,tpot:50,e2el:3000"},
      {.name = "--seed",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "seed of the prompts and of their times",
       .default_value = "0",
       .min = 0,
       .max = 1e9},
      {.name = "--timeout",
       .kind = Kind::integer,
       .metavar = "S",
       .help = "seconds without any byte after which a request has failed",
       .default_value = "600",
       .min = 1,
       .max = 86400},
      {.name = "--api-key-file",
       .kind = Kind::text,
       .metavar = "FILE",
       .help = "a file whose first line is the API key"},
      threads_option(),
      report_option(),
      json_option()};
}

}  // namespace

extern const Command kBenchServeCommand;
const Command kBenchServeCommand = {
    .name = "bench serve",
    .help = "measure an OpenAI-compatible server under load",
    .positionals = {{"server", PositionalKind::required,
                     "URL of a server (http://… or https://…), or a model, for which a server is started and stopped"}},
    .options = options(),
    .run = run_bench_serve,
    .environment = model_places(),
};

}  // namespace mlxk
