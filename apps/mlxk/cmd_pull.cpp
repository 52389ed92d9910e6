// `mlxk pull MODEL[@REVISION]`: download a model from the hub into the Hugging Face cache.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "command.h"
#include "hub/pull.h"
#include "hub/resolve.h"
#include "interrupt.h"
#include "json/api.h"
#include "output.h"
#include "pull_check.h"
#include "pull_progress.h"
#include "table.h"

namespace mlxk {

namespace {

/// What the command tells, whatever becomes of it.
struct Report {
  std::string typed, model;  // as typed and without the revision; as the hub knows it
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

  /// `error` as scripts know it.
  CommandFailure failure(const Error& error) const {
    std::string type = error_kind_info(error.kind()).json_type, status = "failed", message = error.what();
    switch (error.kind()) {
      case ErrorKind::denied: status = "access_denied"; break;
      case ErrorKind::invalid:
      case ErrorKind::no_revision:
      case ErrorKind::cancelled: break;
      default:
        type = "download_failed";
        message = "Download failed: " + message;
    }
    return {error.kind(), type, message, data(status, message), error.hint()};
  }
};

/// Whether the user wants a broken model taken up again; throws where nobody can be asked.
bool confirm_resume(const Report& report, const std::string& message) {
  if (!isatty(STDIN_FILENO)) {
    throw CommandFailure(ErrorKind::invalid, "requires_confirmation", message, report.data("requires_confirmation", message));
  }
  fmt::print(stderr, "{}\nResume download? [Y/n]: ", printable(message));
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer.empty() || answer == "y" || answer == "Y" || answer == "yes" || answer == "Yes";
}

int pull(const Args& args, Report& report) {
  const bool json = args.has("--json"), dry = args.has("--dry-run");
  const std::string word = args.word("model");
  report.typed = report.model = word.substr(0, word.rfind('@'));
  PullRequest request{parse_repo_spec(word), hub_cache_dir(), args.list("--include"), args.list("--exclude")};
  request.repo.name = report.model = expand_repo_name(request.repo.name, request.cache);

  if (!dry && !args.has("--force-resume") && request.include.empty() && request.exclude.empty()) {
    const CachedState state = look_up(request.repo.name, request.repo.revision, request.cache);
    if (!state.commit.empty()) report.extra["commit_hash"] = state.commit;
    if (state.whole) return report.done("already_exists", fmt::format("Model {} already exists in cache", report.model), json);
    if (state.present) {
      const std::string message =
          fmt::format("{}. Use --force-resume to attempt resume or 'mlxk rm' to delete.", state.reason);
      if (json) return report.done("requires_confirmation", message, true);
      if (!confirm_resume(report, message)) return report.done("requires_confirmation", "the partial download is kept", false);
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
  PullProgress progress(progress_style(json));
  DownloadOptions options;
  options.connections = static_cast<int>(args.integer("--connections"));
  options.cancelled = interrupted;
  options.on_progress = [&](const DownloadProgress& now) { progress.show(now); };
  const PullResult result = run_pull(hub, plan, options);
  report.extra["downloaded_bytes"] = result.received_bytes;
  report.extra["path"] = result.snapshot.string();
  return report.done("success", fmt::format("Downloaded to {}", result.snapshot.string()), json);
}

int run(const Args& args) {
  const InterruptGuard guard;
  Report report;
  try {
    return pull(args, report);
  } catch (const CommandFailure&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;
    if (error.kind() == ErrorKind::cancelled) {
      throw report.failure(Error(error.kind(), "interrupted", "what has come is kept: pull again with --force-resume to go on"));
    }
    throw report.failure(error);
  }
}

}  // namespace

extern const Command kPullCommand;
const Command kPullCommand = {
    .name = "pull",
    .help = "download a model from the hub",
    .positionals = {{"model", PositionalKind::required, "org/name, or a name in mlx-community; @revision for a branch, tag or commit"}},
    .options = {{.name = "--force-resume", .help = "also when it is there: complete what is partial, fetch what is newer"},
                {.name = "--include",
                 .kind = OptionKind::repeated,
                 .metavar = "GLOB",
                 .help = "only files whose path matches; may be given several times"},
                {.name = "--exclude", .kind = OptionKind::repeated, .metavar = "GLOB", .help = "no files whose path matches"},
                {.name = "--dry-run", .help = "only tell what would be downloaded, and whether it fits disk and memory"},
                {.name = "--connections",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "files and ranges fetched at once",
                 .default_value = "8",
                 .min = 1,
                 .max = 64},
                json_option()},
    .run = run,
    .environment = {{"HF_TOKEN", "token for private and gated models; else the token file of the Hugging Face tools"},
                    {"HF_ENDPOINT", "address of the hub, of a mirror for example"},
                    {"HF_HOME, HF_HUB_CACHE", "where the cache lies"},
                    {"HF_HUB_OFFLINE", "1: make no connection"},
                    {"HF_HUB_DOWNLOAD_TIMEOUT", "seconds after which a transfer that stands still is taken up anew (10)"},
                    {"HF_HUB_ETAG_TIMEOUT", "seconds that the hub has for an answer (10)"},
                    {"MLXK_PULL_TRIES", "how often a request that brings nothing is tried (8)"},
                    {"HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "proxies"}},
};

}  // namespace mlxk
