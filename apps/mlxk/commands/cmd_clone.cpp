// `mlxk clone MODEL [TARGET]`: creates a local workspace from a model of the hub; the cache is only read.
#include <fmt/format.h>

#include "base/file.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "commands/pull_check.h"
#include "commands/pull_progress.h"
#include "hub/cache.h"
#include "hub/clone.h"
#include "hub/pull.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "probe/model_info.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// A snapshot to copy from.
struct Source {
  std::string name, commit;
  fs::path snapshot;
  bool own_download = false;  // it is in the clone's own cache
};

struct CloneReport {
  std::string model;
  fs::path target;
  bool health_check = true;
  Json health, health_reason;

  Json data(const std::string& status, const std::string& message) const {
    return {{"model", model},
            {"clone_status", status},
            {"message", message},
            {"target_dir", target.string()},
            {"health_check", health_check},
            {"health", health},
            {"health_reason", health_reason}};
  }
};

/// The snapshot if the user's cache has all of it; empty path: none.
Source cached_source(const std::string& name, const std::string& revision) {
  const CachedState state = cached_state(name, revision, hub_cache_dir());
  if (!state.whole) return {};
  return {name, state.commit, hub_cache_dir() / repo_folder(name) / "snapshots" / state.commit};
}

Source find_source(const Args& args, const RepoSpec& spec, const CloneCache& temporary) {
  const HubSettings settings = hub_settings();
  if (settings.offline) {
    Source source = cached_source(expand_repo_name(spec.name, hub_cache_dir()), spec.revision);
    if (!source.snapshot.empty()) return source;
  }
  HubClient hub(settings, interrupted);  // throws when offline
  const PullPlan plan = plan_pull(hub, {spec, temporary.path(), {}, {}});
  Source source = cached_source(plan.repo.name, plan.repo.commit);
  if (!source.snapshot.empty()) return source;
  PullProgress progress(progress_style(args.has("--json") || args.has("--quiet")));
  DownloadOptions options;
  options.cancelled = interrupted;
  options.on_progress = [&](const DownloadProgress& now) { progress.show(now); };
  return {plan.repo.name, plan.repo.commit, run_pull(hub, plan, options).snapshot, true};
}

void clone(const Args& args, const RepoSpec& spec, CloneReport& report) {
  CloneCache temporary(spec.revision.empty() ? spec.name : spec.name + "@" + spec.revision, report.target);
  Source source;
  try {
    source = find_source(args, spec, temporary);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::network && e.kind() != ErrorKind::cancelled) temporary.discard();
    throw;
  }
  report.model = source.name;
  const fs::path staging = temporary.path() / "staging";
  copy_snapshot(source.snapshot, staging, source.own_download);
  mark_cloned(staging, source.name, source.commit);
  if (report.health_check) {
    const ModelInfo info = probe_model({source.name, staging, "", false});
    report.health = info.healthy ? "healthy" : "unhealthy";
    report.health_reason = info.health_reason;
  }
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  std::error_code error;
  fs::rename(staging, report.target, error);  // an empty folder is replaced
  if (error) throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", report.target.string(), error.message()));
  temporary.discard();
}

CommandFailure failure(const Error& error, const CloneReport& report) {
  const std::string message = error.what();
  switch (error.kind()) {
    case ErrorKind::cancelled:
      return {error.kind(), "UserCancelledError", "interrupted", report.data("cancelled", "interrupted"),
              fmt::format("what was downloaded is kept beside {}; run it again to continue", report.target.string())};
    case ErrorKind::denied:
      return {error.kind(), "access_denied", message, report.data("pull_failed", message), error.hint()};
    case ErrorKind::network:
      return {error.kind(), "PullFailedError", message, report.data("pull_failed", message), error.hint()};
    case ErrorKind::invalid:
      return {error.kind(), "InvalidTargetError", message, report.data("error", message), error.hint()};
    case ErrorKind::io:
      return {error.kind(), "CloneFailedError", message, report.data("filesystem_error", message), error.hint()};
    default:
      return {error.kind(), error_kind_info(error.kind()).json_type, message, report.data("error", message),
              error.hint()};
  }
}

int run_clone(const Args& args) {
  const InterruptGuard guard;
  RepoSpec spec = parse_repo_spec(args.word("model"));
  if (args.has("--branch")) spec = parse_repo_spec(spec.name + "@" + args.text("--branch"));
  CloneReport report{
      spec.name, clone_target(args.word("target_dir"), spec.name), !args.has("--no-health-check"), {}, {}};
  try {
    check_clone_target(report.target, hub_cache_dir());
    clone(args, spec, report);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;
    throw failure(error, report);
  }
  const std::string message = fmt::format("Cloned to {}", report.target.string());
  if (args.has("--json")) {
    print_json(success_envelope("clone", report.data("success", message)));
    return 0;
  }
  std::string health;
  if (report.health_check && !args.has("--quiet")) {
    health = report.health == "healthy" ? " (✓ healthy)"
                                        : fmt::format(" (⚠ unhealthy: {})", report.health_reason.get<std::string>());
  }
  print_line(
      fmt::format("clone: {} → {}{}", printable(report.model), printable(report.target.string()), printable(health)));
  return 0;
}

}  // namespace

extern const Command kCloneCommand;
const Command kCloneCommand = {
    .name = "clone",
    .help = "create a workspace from a model on the hub",
    .positionals = {{"model", PositionalKind::required,
                     "org/name, or a name in mlx-community; @revision for a branch, tag or commit"},
                    {"target_dir", PositionalKind::optional,
                     "a new or empty folder; a bare name goes into MLXK_WORKSPACE_HOME"}},
    .options = {{.name = "--branch", .kind = OptionKind::text, .metavar = "B", .help = "this branch, tag or commit"},
                {.name = "--no-health-check", .help = "skip the file check"},
                {.name = "--quiet", .help = "no progress, one short line"},
                {.name = "--force-resume", .help = "accepted; an interrupted clone always continues"},
                json_option()},
    .run = run_clone,
    .environment = model_places({{"HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE", "as for pull"}}),
};

}  // namespace mlxk
