// `mlxk convert SOURCE TARGET`: flags, the call, the printing.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "engine/open.h"
#include "hub/resolve.h"
#include "hub/workspace.h"
#include "interrupt.h"
#include "json/api.h"
#include "output.h"
#include "probe/model_info.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

/// A bare name lies in the folder of workspaces, where there is one.
fs::path in_workspace_home(const std::string& word) {
  const auto home = workspace_home();
  if (!home || word.find('/') != std::string::npos || fs::exists(word)) return word;
  return *home / word;
}

void refuse_cache(const fs::path& target) {
  const auto cache = fs::weakly_canonical(hub_cache_dir());
  const auto relative = fs::weakly_canonical(target).lexically_relative(cache);
  if (!relative.empty() && *relative.begin() != "..") {
    throw Error(ErrorKind::invalid,
                fmt::format("{} lies in the Hugging Face cache; a workspace may not", target.string()));
  }
}

/// A line that is written over, on a terminal only; Ctrl-C ends the conversion, which removes what it wrote.
void show_progress(const std::string& what, int64_t done, int64_t total) {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  if (!isatty(STDERR_FILENO)) return;
  fmt::print(stderr, "\r{:3}% {:.60}\x1b[K{}", total > 0 ? done * 100 / total : 100, what,
             done >= total ? "\r\x1b[K" : "");
}

std::string joined(const std::vector<std::string>& texts) { return fmt::format("{}", fmt::join(texts, "; ")); }

Json report_json(const ConvertOptions& options, const ConvertReport& report, const ModelInfo* info,
                 const Json& sentinel) {
  Json data = {{"source", options.source.string()},
               {"target", options.target.string()},
               {"mode", sentinel.value("mode", "")},
               {"model_type", report.model_type},
               {"health_check", info != nullptr}};
  if (info) {
    data["health_status"] = info->healthy ? "healthy" : "unhealthy";
    data["health_reason"] = info->health_reason;
  }
  data["message"] = report.quantization.empty() ? "Converted" : "Converted to " + report.quantization;
  if (!report.warnings.empty()) data["warning"] = joined(report.warnings);
  const auto quantization = sentinel.find("quantization");
  if (quantization != sentinel.end()) data.update(*quantization);
  data["content_hash"] = sentinel.value("content_hash", Json());
  return data;
}

int run(const Args& args) {
  ConvertOptions options;
  options.source = in_workspace_home(args.word("source"));
  options.target = in_workspace_home(args.word("target"));
  options.mode = args.text("--q-mode");
  if (args.has("--quantize")) options.quantize_bits = static_cast<int>(args.integer("--quantize"));
  if (args.has("--q-group-size")) options.group_size = static_cast<int>(args.integer("--q-group-size"));
  if (!args.has("--quantize") && (args.has("--q-group-size") || args.has("--q-mode"))) {
    throw Error(ErrorKind::usage, "--q-group-size and --q-mode need --quantize BITS");
  }
  refuse_cache(options.target);
  ConvertReport report;
  {
    const InterruptGuard guard;
    Worker worker(open_engine);
    report = worker.convert(options, show_progress);
  }
  const auto target = fs::absolute(options.target).lexically_normal();
  std::optional<ModelInfo> info;
  if (!args.has("--skip-health")) info = probe_model({.name = target.string(), .path = target, .cached = false});
  if (info && !info->healthy) {
    throw Error(ErrorKind::bad_model,
                fmt::format("{} was written but is not healthy: {}", target.string(), info->health_reason));
  }
  const auto data =
      report_json(options, report, info ? &*info : nullptr, read_sentinel(target).value_or(Json::object()));
  if (args.has("--json")) {
    print_json(success_envelope("convert", data));
    return 0;
  }
  print_line(fmt::format("convert: {} → {}", options.source.string(), options.target.string()));
  print_line(fmt::format("  Mode: {}", data["mode"].get<std::string>()));
  for (const auto& warning : report.warnings) print_line("  ⚠ " + warning);
  print_line("  " + data["message"].get<std::string>());
  if (info) print_line("  ✓ Health check: passed");
  return 0;
}
}  // namespace

extern const Command kConvertCommand;
const Command kConvertCommand = {
    .name = "convert",
    .help = "make an MLX workspace from a GGUF file or a folder of safetensors",
    .positionals = {{"source", PositionalKind::required,
                     "a .gguf file, a folder that holds one, or a folder of safetensors"},
                    {"target", PositionalKind::required, "the new folder; must not exist"}},
    .options = {{.name = "--quantize",
                 .kind = OptionKind::integer,
                 .metavar = "BITS",
                 .help = "quantise every matrix to 2, 3, 4, 5, 6 or 8 bits",
                 .min = 2,
                 .max = 8},
                {.name = "--q-group-size",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "elements that share a scale: 32, 64 or 128; by default the mode's own",
                 .min = 16,
                 .max = 128},
                {.name = "--q-mode",
                 .kind = OptionKind::text,
                 .metavar = "MODE",
                 .help = "affine, mxfp4, mxfp8 or nvfp4",
                 .default_value = "affine"},
                {.name = "--skip-health", .help = "do not check the result"},
                json_option()},
    .run = run,
    .environment = {{"MLXK_WORKSPACE_HOME", "folder of workspaces, where bare names lie"}},
};

}  // namespace mlxk
