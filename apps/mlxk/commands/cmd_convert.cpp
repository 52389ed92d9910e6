// `mlxk convert SOURCE TARGET`: flags, the call, the printing.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "commands/convert_progress.h"
#include "commands/convert_request.h"
#include "engine/open.h"
#include "hub/workspace.h"
#include "json/api.h"
#include "repair/repair.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

/// The failure with the JSON type that scripts know: of the target, of health, or of the operating system.
CommandFailure failure(const Error& error) {
  const std::string message = error.what();
  std::string type = error_kind_info(error.kind()).json_type;
  if (message.find("the result is not healthy") != message.npos) type = "HealthCheckFailed";
  if (error.kind() == ErrorKind::invalid || error.kind() == ErrorKind::not_found) type = "ValueError";
  if (error.kind() == ErrorKind::io || error.kind() == ErrorKind::denied) type = "OSError";
  return {error.kind() == ErrorKind::usage ? ErrorKind::invalid : error.kind(),
          error.kind() == ErrorKind::usage ? "InvalidArgumentError" : type, message, nullptr, error.hint()};
}

Json common_data(const ConvertOptions& options, const Json& sentinel) {
  Json data = {{"source", options.source.string()},
               {"target", options.target.string()},
               {"mode", sentinel.value("mode", "")},
               {"health_check", options.check_health}};
  return data;
}

Json drift_json(const Drift& drift) {
  return {{"tokens", drift.tokens},
          {"mean_kl", drift.mean_kl},
          {"max_kl", drift.max_kl},
          {"top1_agreement", drift.top1_agreement}};
}

Json drift_json(const VectorDrift& drift) {
  return {{"texts", drift.texts}, {"mean_cosine", drift.mean_cosine}, {"min_cosine", drift.min_cosine}};
}

int convert(const ConvertOptions& options, bool json) {
  ConvertReport report;
  {
    const InterruptGuard guard;
    Worker worker(open_engine);
    report =
        worker.convert(options, [progress = ConvertProgress()](const std::string& what, int64_t done,
                                                               int64_t total) mutable { progress(what, done, total); });
  }
  const auto sentinel = read_sentinel(options.target).value_or(Json::object());
  auto data = common_data(options, sentinel);
  data["model_type"] = report.model_type;
  if (options.check_health) {
    data["health_status"] = "healthy";
    data["health_reason"] = report.health_reason;
  }
  std::string message = report.quantization.empty() ? "Converted" : "Converted to " + report.quantization;
  if (options.quantize_bits != 0) message = fmt::format("Quantized to {}-bit successfully", options.quantize_bits);
  if (!options.recipe.empty()) message = fmt::format("Quantized to {} successfully", options.recipe);
  if (options.dequantize) message = "Dequantized successfully";
  data["message"] = message;
  if (!report.warnings.empty()) data["warning"] = fmt::format("{}", fmt::join(report.warnings, "; "));
  const auto quantization = sentinel.find("quantization");
  if (quantization != sentinel.end()) data.update(*quantization);
  if (report.drift) data["drift"] = drift_json(*report.drift);
  if (report.vector_drift) data["drift"] = drift_json(*report.vector_drift);
  data["content_hash"] = sentinel.value("content_hash", Json());
  if (json) {
    print_json(success_envelope("convert", data));
    return 0;
  }
  print_line(fmt::format("convert: {} → {}", options.source.string(), options.target.string()));
  print_line(fmt::format("  Mode: {}", report.mode));
  for (const auto& warning : report.warnings) print_line("  ⚠ " + warning);
  print_line("  " + message);
  if (report.drift) {
    print_line(fmt::format("  Drift: KL {:.6f} nats mean, {:.6f} largest; same likeliest token {:.1f} % of {}",
                           report.drift->mean_kl, report.drift->max_kl, report.drift->top1_agreement * 100,
                           report.drift->tokens));
  }
  if (report.vector_drift) {
    print_line(fmt::format("  Drift: cosine {:.6f} mean, {:.6f} smallest, of the vectors of {} texts",
                           report.vector_drift->mean_cosine, report.vector_drift->min_cosine,
                           report.vector_drift->texts));
  }
  if (options.check_health) print_line("  ✓ Health check: passed");
  return 0;
}

int repair(const ConvertRequest& request, bool json) {
  const auto& options = request.options;
  RepairReport report;
  {
    const InterruptGuard guard;
    report = repair_model({.source = options.source,
                           .target = options.target,
                           .index_only = request.task == ConvertRequest::Task::repair_index,
                           .check_health = options.check_health},
                          ConvertProgress());
  }
  const auto sentinel = read_sentinel(options.target).value_or(Json::object());
  auto data = common_data(options, sentinel);
  if (options.check_health) data["health_status"] = "healthy";
  data["message"] = report.message;
  data["repairs"] = Json::array();
  for (const auto& finding : report.findings) {
    data["repairs"].push_back({{"file", finding.file},
                               {"problem", finding.problem},
                               {"fix", finding.fix.empty() ? Json() : Json(finding.fix)}});
  }
  data["content_hash"] = sentinel.value("content_hash", Json());
  if (json) {
    print_json(success_envelope("convert", data));
    return 0;
  }
  print_line(fmt::format("convert: {} → {}", options.source.string(), options.target.string()));
  print_line(fmt::format("  Mode: {}", data["mode"].get<std::string>()));
  for (const auto& finding : report.findings) {
    const auto fix = finding.fix.empty() ? std::string("cannot be repaired here") : finding.fix;
    print_line(fmt::format("  {}: {} → {}", finding.file, printable(finding.problem), printable(fix)));
  }
  print_line("  " + report.message);
  if (options.check_health) print_line("  ✓ Health check: passed");
  return 0;
}

int run_convert(const Args& args) {
  const auto request = read_convert_request(args);
  const bool json = args.has("--json");
  try {
    return request.task == ConvertRequest::Task::convert ? convert(request.options, json) : repair(request, json);
  } catch (const Error& error) {
    throw failure(error);
  }
}
}  // namespace

extern const Command kConvertCommand;
const Command kConvertCommand = {
    .name = "convert",
    .help = "make an MLX workspace: quantise, dequantise, cast, import or repair a model",
    .positionals = {{"source", PositionalKind::required,
                     "a folder of safetensors, PyTorch weights (.bin, .pth) or .npz, or a .gguf file"},
                    {"target", PositionalKind::required, "the new folder; must not exist"}},
    .options = {{.name = "--quantize",
                 .kind = OptionKind::text,
                 .metavar = "BITS",
                 .help = "2, 3, 4, 5, 6 or 8 bits, or a recipe: mixed_2_6, mixed_3_4, mixed_3_6, mixed_4_6",
                 .choices = {"2", "3", "4", "5", "6", "8", "mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"}},
                {.name = "--q-group-size",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "elements that share a scale: 32, 64 or 128; default: the mode's own",
                 .min = 16,
                 .max = 128},
                {.name = "--q-mode",
                 .kind = OptionKind::text,
                 .metavar = "MODE",
                 .help = "affine, mxfp4, mxfp8 or nvfp4",
                 .default_value = "affine",
                 .choices = {"affine", "mxfp4", "mxfp8", "nvfp4"}},
                {.name = "--dequantize", .help = "unpack a quantised model"},
                {.name = "--dtype",
                 .kind = OptionKind::text,
                 .metavar = "TYPE",
                 .help = "float16, bfloat16 or float32 for unquantised tensors; default: config.json's torch_dtype",
                 .choices = {"float16", "bfloat16", "float32"}},
                {.name = "--repair-index", .help = "copy the model and rewrite the index of its shards"},
                {.name = "--repair",
                 .help = "copy the model and repair index, end-of-sequence tokens and preprocessor values"},
                {.name = "--check",
                 .help =
                     "measure the drift from the source, of the logits or of an embedding model's vectors, and record "
                     "it in README.md"},
                {.name = "--max-kl",
                 .kind = OptionKind::number,
                 .metavar = "X",
                 .help = "refuse a result whose mean KL divergence is larger (implies --check)",
                 .min = 0},
                {.name = "--min-cosine",
                 .kind = OptionKind::number,
                 .metavar = "X",
                 .help = "refuse an embedding model with a smaller cosine to a vector of the source (implies --check)",
                 .min = -1,
                 .max = 1},
                {.name = "--max-shard-mb",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "largest size of a weight file",
                 .default_value = "5120",
                 .min = 1,
                 .max = 1 << 20},
                {.name = "--skip-health", .help = "skip the check of the result"},
                json_option()},
    .run = run_convert,
    .environment = model_places(),
};

}  // namespace mlxk
