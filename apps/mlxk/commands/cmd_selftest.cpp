// `mlxk selftest MODEL… | --all`: checks that models keep their contract on this machine.
#include <fmt/format.h>

#include <memory>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "engine/open.h"
#include "json/api.h"
#include "selftest/run_checks.h"
#include "selftest/selftest.h"
#include "selftest/selftest_records.h"
#include "selftest/verdicts.h"
#include "serving/admission.h"
#include "serving/model_loader.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

/// A model and the result of its selftest.
struct Tested {
  ModelInfo info;
  SelftestResult result;
  DeviceFacts device;  // empty: the engine was not needed
};

const char* mark_of(Outcome outcome) {
  return outcome == Outcome::passed ? "✓" : outcome == Outcome::failed ? "✗" : "–";
}

void print_check(const CheckResult& check) {
  const std::string reason = check.finding.reason.empty() ? "" : ": " + printable(check.finding.reason);
  print_line(fmt::format("  {} {}{} ({:.1f} s)", mark_of(check.finding.outcome), check.name, reason, check.seconds));
  std::fflush(stdout);
}

/// The engine, started when the first model is loaded.
class Engine {
 public:
  Worker& worker() {
    if (!worker_) worker_ = std::make_unique<Worker>(open_engine);
    return *worker_;
  }

 private:
  std::unique_ptr<Worker> worker_;
};

/// Loads the model. With `all`, a model that cannot run here is skipped.
CheckFinding load(const ModelInfo& info, bool all, Engine& engine, std::shared_ptr<const ServedModel>& model) {
  try {
    admit_served(info, this_machine(), {});
  } catch (const Error& error) {
    if (!all) throw;
    return CheckFinding::skipped(error.what());
  }
  const auto progress = [](const std::string&, int64_t, int64_t) {
    if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  };
  model = open_model(info)->read(engine.worker(), selftest_load_options(), progress);
  return CheckFinding::passed();
}

Tested test(const ModelRef& ref, bool all, const SelftestOptions& options, Engine& engine) {
  Tested tested{probe_model(ref), {}, {}};
  tested.result = check_files(tested.info, options);
  if (!tested.result.passed()) return tested;
  std::shared_ptr<const ServedModel> model;
  run_checks({{"load", [&] { return load(tested.info, all, engine, model); }}}, options, tested.result);
  if (!model) return tested;
  tested.device = engine.worker().device();
  SelftestResult more = check_model(engine.worker(), model, options);
  tested.result.figures = more.figures;
  for (CheckResult& check : more.checks) tested.result.checks.push_back(std::move(check));
  return tested;
}

/// Stores the verdict on a model that was loaded.
void keep(SelftestVerdicts& verdicts, const Tested& tested, bool quick) {
  if (tested.device.name.empty()) return;
  try {
    verdicts.keep(tested.info, verdict_of(tested.result, tested.device, quick));
  } catch (const Error& error) {  // the test itself is done
    log::warn(fmt::format("cannot store the verdict on {}: {}", tested.info.ref.name, error.what()));
  }
}

Json data_of(const std::vector<Tested>& all) {
  Json models = Json::array();
  bool passed = true;
  for (const Tested& one : all) {
    Json checks = Json::array();
    for (const CheckResult& check : one.result.checks) {
      checks.push_back({{"name", check.name},
                        {"outcome", outcome_name(check.finding.outcome)},
                        {"reason", check.finding.reason.empty() ? Json() : Json(check.finding.reason)},
                        {"seconds", check.seconds}});
    }
    const double speed = one.result.figures.tokens_per_s;
    models.push_back({{"model", one.info.ref.name},
                      {"passed", one.result.passed()},
                      {"device", one.device.name.empty() ? Json() : Json(verdict_device(one.device))},
                      {"tokens_per_s", speed > 0 ? Json(speed) : Json()},
                      {"checks", std::move(checks)}});
    passed = passed && one.result.passed();
  }
  return {{"passed", passed}, {"models", std::move(models)}};
}

std::vector<ModelRef> chosen_models(const Args& args) {
  const auto words = args.words("model");
  if (args.has("--all") != words.empty()) {
    throw Error(ErrorKind::usage,
                words.empty() ? "selftest needs models, or --all" : "--all cannot be combined with models");
  }
  if (words.empty()) return list_models();
  std::vector<ModelRef> refs;
  for (const std::string& word : words) refs.push_back(resolve_model(runnable_argument(word)));
  return refs;
}

int run_selftest(const Args& args) {
  const std::vector<ModelRef> refs = chosen_models(args);
  apply_threads(args);
  const InterruptGuard guard;
  const bool json = args.has("--json");
  SelftestOptions options{.quick = args.has("--quick"), .strict = args.has("--strict"), .stop_wanted = interrupted};
  if (!json) options.on_result = print_check;
  Engine engine;
  SelftestVerdicts verdicts;
  std::vector<Tested> all;
  size_t failed = 0;
  for (const ModelRef& ref : refs) {
    if (!json) print_line(printable(ref.name));
    all.push_back(test(ref, args.has("--all"), options, engine));
    keep(verdicts, all.back(), options.quick);
    if (args.has("--report")) {
      append_records(args.text("--report"),
                     selftest_records(all.back().info, all.back().result, all.back().device, options.quick));
    }
    failed += all.back().result.passed() ? 0 : 1;
  }
  const std::string summary = failed == 0 ? fmt::format("{} passed", counted(all.size(), "model"))
                                          : fmt::format("{} of {} failed", failed, counted(all.size(), "model"));
  if (!json) {
    print_line(summary);
    return failed == 0 ? 0 : 1;
  }
  if (failed > 0) throw CommandFailure(ErrorKind::bad_model, "selftest_failed", summary, data_of(all));
  print_json(success_envelope("selftest", data_of(all)));
  return 0;
}

}  // namespace

extern const Command kSelftestCommand;
const Command kSelftestCommand = {
    .name = "selftest",
    .help = "check that models keep their contract on this machine",
    .positionals = {{"model", PositionalKind::rest, "models to test"}},
    .options = {{.name = "--all", .help = "test every model in the cache and the workspace home"},
                {.name = "--quick",
                 .help = "use shorter prompts and answers, and do not read the weights to check hashes"},
                {.name = "--strict", .help = "a wrong answer is a failure, even of a small model"},
                {.name = "--report",
                 .kind = OptionKind::text,
                 .metavar = "FILE",
                 .help = "append a record of each check to FILE (JSON Lines, schema 0.2.2)"},
                threads_option(),
                json_option()},
    .run = run_selftest,
    .environment = model_places({{"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"}}),
};

}  // namespace mlxk
