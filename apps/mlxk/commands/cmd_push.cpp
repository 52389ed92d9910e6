// `mlxk push FOLDER ORG/NAME`: uploads a workspace to the hub, as one commit.
#include <fmt/format.h>

#include "base/counted.h"
#include "base/file.h"
#include "cli/table.h"
#include "commands/command.h"
#include "commands/push_check.h"
#include "hub/push.h"
#include "hub/repo_id.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "terminal/progress_line.h"

namespace mlxk {

namespace {

constexpr size_t kMaxListed = 20;

Json empty_data(const std::string& repo, const std::string& branch, const std::string& endpoint) {
  return {{"repo_id", repo},
          {"branch", branch},
          {"commit_sha", nullptr},
          {"commit_url", nullptr},
          {"repo_url", endpoint + "/" + repo},
          {"uploaded_files_count", nullptr},
          {"local_files_count", nullptr},
          {"no_changes", nullptr},
          {"created_repo", false},
          {"message", nullptr},
          {"experimental", true},
          {"disclaimer", "Review the result on the hub."}};
}

/// The folder that `word` names: itself, or the one workspace with this prefix.
fs::path find_folder(const std::string& word, const Json& data) {
  std::error_code error;
  if (fs::is_directory(word, error)) return word;
  std::vector<std::string> matches;
  if (is_path_spec(word)) {
    for (const auto& ref : list_models(word)) matches.push_back(ref.path.string());
  }
  if (matches.size() == 1) return matches.front();
  if (matches.empty()) {
    throw CommandFailure(ErrorKind::not_found, "workspace_not_found",
                         fmt::format("No workspace found matching: {}", word), data);
  }
  std::string lines;
  for (const auto& match : matches) lines += match + "\n";
  throw CommandFailure(ErrorKind::ambiguous, "ambiguous_workspace",
                       fmt::format("Ambiguous pattern '{}' matches {} workspaces", word, matches.size()), data, lines);
}

Json names(const std::vector<LocalFile>& files) {
  Json list = Json::array();
  for (size_t i = 0; i < std::min(files.size(), kMaxListed); ++i) list.push_back(files[i].path);
  return list;
}

Json first(const std::vector<std::string>& paths) {
  return std::vector<std::string>(paths.begin(),
                                  paths.begin() + static_cast<std::ptrdiff_t>(std::min(paths.size(), kMaxListed)));
}

Json summary_of(const PushPlan& plan) {
  return {{"added", plan.added.size()},
          {"modified", plan.modified.size()},
          {"deleted", plan.request.remove_absent ? plan.absent.size() : 0}};
}

std::string counts(const Json& summary) {
  return fmt::format("+{} ~{} -{}", summary["added"].get<size_t>(), summary["modified"].get<size_t>(),
                     summary["deleted"].get<size_t>());
}

/// `push (experimental): repo@branch — text`, or the document.
int answer(const Args& args, const Json& data, const std::string& text) {
  if (args.has("--json")) {
    print_json(success_envelope("push", data));
    return 0;
  }
  std::string line = fmt::format("push (experimental): {}@{} — {}", data["repo_id"].get<std::string>(),
                                 data["branch"].get<std::string>(), text);
  if (args.has("--verbose") && data["commit_url"].is_string())
    line += fmt::format(" <{}>", data["commit_url"].get<std::string>());
  print_line(printable(line));
  return 0;
}

int check_only(const Args& args, const fs::path& folder, Json data) {
  data["message"] = "Check-only: no upload performed.";
  data["workspace_health"] = workspace_health(folder);
  const int code = answer(args, data, data["message"]);
  if (args.has("--json")) return code;
  for (const Json& anomaly : data["workspace_health"]["anomalies"]) {
    print_line(fmt::format("  {}: {}", anomaly["severity"].get<std::string>(),
                           printable(anomaly["message"].get<std::string>())));
  }
  print_line(data["workspace_health"]["healthy"].get<bool>() ? "  healthy" : "  not healthy");
  return code;
}

int dry_run(const Args& args, const PushPlan& plan, Json data) {
  const Json summary = summary_of(plan);
  data.update({{"dry_run", true},
               {"dry_run_summary", summary},
               {"change_summary", summary},
               {"uploaded_files_count", 0},
               {"no_changes", plan.changes_nothing()},
               {"would_create_repo", !plan.repo_exists},
               {"would_create_branch", !plan.branch_exists},
               {"added_files", names(plan.added)},
               {"modified_files", names(plan.modified)},
               {"deleted_files", plan.request.remove_absent ? first(plan.absent) : Json::array()},
               {"kept_files", plan.request.remove_absent ? Json::array() : first(plan.absent)}});
  std::string text = plan.changes_nothing() ? "dry-run: no changes" : "dry-run: " + counts(summary);
  if (!plan.repo_exists) {
    text += " (create repo, create branch)";
  } else if (!plan.branch_exists) {
    text += " (create branch)";
  }
  data["message"] = text;
  return answer(args, data, text);
}

CommandFailure failure(const Error& error, const Json& data) {
  std::string type = error_kind_info(error.kind()).json_type;
  switch (error.kind()) {
    case ErrorKind::not_found: type = "repo_not_found"; break;
    case ErrorKind::no_revision: type = "branch_not_found"; break;
    case ErrorKind::network:
    case ErrorKind::io:
    case ErrorKind::bad_model: type = "upload_failed"; break;
    default: break;
  }
  return {error.kind(), type, error.what(), data, error.hint()};
}

int push(const Args& args, Json& data) {
  const bool json = args.has("--json");
  const std::string repo = args.word("repo_id"), branch = args.text("--branch");
  check_repo_name(repo);
  const HubSettings settings = hub_settings();
  data = empty_data(repo, branch, settings.endpoint);
  if (!args.has("--check-only") && settings.token.empty()) {
    throw CommandFailure(ErrorKind::denied, "auth_error", "HF_TOKEN not set", data,
                         "make a token with write access on the hub");
  }
  const fs::path folder = find_folder(args.word("local_dir"), data);
  data["local_files_count"] = files_to_push(folder).size();
  if (args.has("--check-only")) return check_only(args, folder, data);

  HubClient hub(settings, interrupted);
  ProgressLine line(json);
  const PushProgress progress = [&](const std::string& what, uint64_t done, uint64_t total) {
    line.show(what, done, total);
  };
  const PushPlan plan = plan_push(
      hub, {folder, repo, branch, args.text("--commit"), args.has("--create"), args.has("--delete")}, progress);
  if (args.has("--dry-run")) return dry_run(args, plan, data);
  if (!plan.repo_exists && args.has("--create") && args.has("--private") == args.has("--public")) {
    throw Error(ErrorKind::usage, "a new repository needs one of --private and --public");
  }
  if (plan.repo_exists && plan.changes_nothing() && plan.branch_exists) {
    data.update(
        {{"no_changes", true}, {"uploaded_files_count", 0}, {"message", "No files changed; skipped empty commit."}});
    return answer(args, data, "no changes");
  }
  const PushResult result = run_push(hub, plan, args.has("--private"), progress);
  const Json summary = summary_of(plan);
  const size_t uploaded = plan.added.size() + plan.modified.size();
  data.update({{"commit_sha", result.commit},
               {"commit_url", result.commit_url},
               {"uploaded_files_count", uploaded},
               {"no_changes", false},
               {"created_repo", result.created_repo},
               {"change_summary", summary},
               {"message", fmt::format("Committed {} ({}).", counted(uploaded, "file"), counts(summary))}});
  return answer(args, data, fmt::format("commit {} ({})", result.commit.substr(0, 7), counts(summary)));
}

int run_push(const Args& args) {
  const InterruptGuard guard;
  Json data;
  try {
    return push(args, data);
  } catch (const CommandFailure&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;
    throw failure(error, data);
  }
}

}  // namespace

extern const Command kPushCommand;
const Command kPushCommand = {
    .name = "push",
    .help = "upload a workspace to the hub, as one commit",
    .positionals = {{"local_dir", PositionalKind::required, "a workspace"},
                    {"repo_id", PositionalKind::required, "org/name on the hub"}},
    .options =
        {{.name = "--private", .help = "--create makes a private repository"},
         {.name = "--public", .help = "--create makes a public repository"},
         {.name = "--create", .help = "create the repository and the branch if they do not exist"},
         {.name = "--branch", .kind = OptionKind::text, .metavar = "B", .help = "the branch", .default_value = "main"},
         {.name = "--commit",
          .kind = OptionKind::text,
          .metavar = "MSG",
          .help = "commit message",
          .default_value = "mlx-knife push"},
         {.name = "--delete", .help = "also remove files of the branch that are not in the workspace"},
         {.name = "--check-only", .help = "check the workspace without contacting the hub"},
         {.name = "--dry-run", .help = "only show what would change"},
         {.name = "--verbose", .help = "also print the commit's address"},
         json_option()},
    .run = run_push,
    .environment = {{"HF_TOKEN", "a token with write access"}, {"HF_ENDPOINT", "address of the hub"}},
};

}  // namespace mlxk
