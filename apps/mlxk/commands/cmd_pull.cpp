// `mlxk pull MODEL[@REVISION]`: downloads a model from the hub into the Hugging Face cache.
#include <fmt/format.h>

#include "base/counted.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "commands/command.h"
#include "commands/pull_check.h"
#include "commands/pull_progress.h"
#include "hub/lock_file.h"
#include "hub/pull.h"
#include "hub/resolve.h"
#include "hub/verify.h"
#include "json/api.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// The facts that the command reports, whatever the outcome.
struct PullReport {
  std::string typed, model;  // as typed and without the revision; under the hub's name
  Json extra = Json::object();

  Json data(const std::string& status, const std::string& message) const {
    Json data = {{"model", model}, {"download_status", status}, {"message", message}};
    data["expanded_name"] = model == typed ? Json() : Json(model);
    data.update(extra);
    return data;
  }

  int done(const std::string& status, const std::string& message, bool json) const {
    if (json) {
      print_json(success_envelope("pull", data(status, message)));
    } else {
      print_line(fmt::format("pull: {} — {}", printable(model), printable(message, true)));
    }
    return 0;
  }

  /// `error` with the JSON type that scripts know.
  CommandFailure failure(const Error& error) const {
    std::string type = error_kind_info(error.kind()).json_type, status = "failed", message = error.what();
    switch (error.kind()) {
      case ErrorKind::denied: status = "access_denied"; break;
      case ErrorKind::invalid:
      case ErrorKind::no_revision:
      case ErrorKind::cancelled: break;
      default: type = "download_failed"; message = "Download failed: " + message;
    }
    return {error.kind(), type, message, data(status, message), error.hint()};
  }
};

/// Carries out `plan`, with progress on stderr.
PullResult download(const Args& args, const HubClient& hub, const PullPlan& plan) {
  PullProgress progress(progress_style(args.has("--json")));
  DownloadOptions options;
  options.connections = static_cast<int>(args.integer("--connections"));
  options.cancelled = interrupted;
  options.on_progress = [&](const DownloadProgress& now) { progress.show(now); };
  return run_pull(hub, plan, options);
}

/// A glob that matches only `path`.
std::string as_glob(const std::string& path) {
  std::string glob;
  for (const char c : path) {
    if (std::string_view("*?[\\").find(c) != std::string_view::npos) glob += '\\';
    glob += c;
  }
  return glob;
}

/// Every model of the lock file, or the one named: exactly the files that it lists.
int pull_locked(const Args& args, PullReport& report) {
  const std::string wanted = args.word("model");
  Json pulled = Json::array();
  HubClient hub(hub_settings(), interrupted);
  for (const auto& locked : read_lock_file(args.text("--locked"))) {
    if (!wanted.empty() && wanted != locked.name) continue;
    report.typed = report.model = locked.name;
    std::vector<std::string> paths;
    for (const auto& file : locked.files) paths.push_back(as_glob(file.path));
    const PullPlan plan = plan_pull(hub, {{locked.name, locked.revision}, hub_cache_dir(), paths, {}});
    const PullResult result = download(args, hub, plan);
    for (const auto& file : verify_files(result.snapshot, locked.files, {})) {
      if (file.state == VerifiedFile::State::ok || file.state == VerifiedFile::State::unrecorded) continue;
      throw Error(ErrorKind::bad_model, fmt::format("{} of {} does not match the lock file: {}", file.path, locked.name,
                                                    file.reason.empty() ? "missing" : file.reason));
    }
    if (!args.has("--json"))
      print_line(fmt::format("pull: {} — as locked, in {}", locked.name, result.snapshot.string()));
    pulled.push_back({{"model", locked.name},
                      {"commit_hash", locked.revision},
                      {"path", result.snapshot.string()},
                      {"downloaded_bytes", result.received_bytes}});
  }
  if (pulled.empty()) throw Error(ErrorKind::not_found, fmt::format("the lock file has no model {}", wanted));
  report.extra["models"] = pulled;
  if (args.has("--json"))
    print_json(success_envelope("pull", report.data("success", counted(pulled.size(), "model") + " as locked")));
  return 0;
}

int pull(const Args& args, PullReport& report) {
  const bool json = args.has("--json"), dry = args.has("--dry-run");
  if (args.has("--locked")) return pull_locked(args, report);
  const std::string word = args.word("model");
  if (args.words("model").empty()) throw Error(ErrorKind::usage, "pull needs a model, or --locked FILE");
  report.typed = report.model = word.substr(0, word.rfind('@'));
  PullRequest request{parse_repo_spec(word), hub_cache_dir(), args.list("--include"), args.list("--exclude")};
  request.repo.name = report.model = expand_repo_name(request.repo.name, request.cache);

  if (!dry && !args.has("--force-resume") && request.include.empty() && request.exclude.empty()) {
    const CachedState state = cached_state(request.repo.name, request.repo.revision, request.cache);
    if (!state.commit.empty()) report.extra["commit_hash"] = state.commit;
    if (state.whole)
      return report.done("already_exists", fmt::format("Model {} already exists in cache", report.model), json);
    if (state.present && !json) {
      fmt::print(stderr, "{}: {}; completing it\n", printable(report.model), printable(state.reason));
    }
  }

  HubClient hub(hub_settings(), interrupted);
  const PullPlan plan = plan_pull(hub, request);
  report.model = plan.repo.name;
  report.extra["commit_hash"] = plan.repo.commit;
  if (dry) {
    report.extra.update(dry_run_data(plan));
    return report.done("dry_run", json ? "dry run: nothing was written" : "dry run\n" + dry_run_text(plan), json);
  }
  const PullResult result = download(args, hub, plan);
  report.extra["downloaded_bytes"] = result.received_bytes;
  report.extra["path"] = result.snapshot.string();
  return report.done("success", fmt::format("Downloaded to {}", result.snapshot.string()), json);
}

int run_pull_command(const Args& args) {
  const InterruptGuard guard;
  PullReport report;
  try {
    return pull(args, report);
  } catch (const CommandFailure&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;
    if (error.kind() == ErrorKind::cancelled) {
      throw report.failure(Error(error.kind(), "interrupted", "what was downloaded is kept; run it again to continue"));
    }
    throw report.failure(error);
  }
}

}  // namespace

extern const Command kPullCommand;
const Command kPullCommand = {
    .name = "pull",
    .help = "download a model from the hub",
    .positionals = {{"model", PositionalKind::optional,
                     "org/name, or a name in mlx-community; @revision for a branch, tag or commit"}},
    .options = {{.name = "--force-resume", .help = "even if cached: finish partial files, fetch a newer revision"},
                {.name = "--include",
                 .kind = OptionKind::repeated,
                 .metavar = "GLOB",
                 .help = "only files whose path matches; repeatable"},
                {.name = "--exclude",
                 .kind = OptionKind::repeated,
                 .metavar = "GLOB",
                 .help = "skip files whose path matches; repeatable"},
                {.name = "--locked",
                 .kind = OptionKind::text,
                 .metavar = "FILE",
                 .help = "only what this lock file (of verify --write-lock) lists"},
                {.name = "--dry-run",
                 .help = "only show what would be downloaded, and whether it fits on the disk and in memory"},
                {.name = "--connections",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "files and ranges fetched at once",
                 .default_value = "8",
                 .min = 1,
                 .max = 64},
                json_option()},
    .run = run_pull_command,
    .environment =
        model_places({{"HF_TOKEN", "token for private and gated models; else the token file of the Hugging Face tools"},
                      {"HF_ENDPOINT", "address of the hub or of a mirror"},
                      {"HF_HUB_OFFLINE", "1: make no connection"},
                      {"HF_HUB_DOWNLOAD_TIMEOUT", "seconds without data before a stalled transfer is restarted (10)"},
                      {"HF_HUB_ETAG_TIMEOUT", "seconds to wait for the hub's answer (10)"},
                      {"MLXK_PULL_TRIES", "attempts for a request that yields no data (8)"},
                      {"HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "proxies"}}),
};

}  // namespace mlxk
