// `mlxk rm MODEL`: removes a cached model, or one snapshot of it.
#include <fmt/format.h>

#include "base/counted.h"
#include "base/file.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "hub/locks.h"
#include "hub/removal.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// The part before "@revision".
std::string_view name_of(std::string_view spec) { return spec.substr(0, spec.rfind('@')); }

CachedRepo repo_of(const ModelRef& ref) {
  // The path of a model without a snapshot is the repository's folder.
  return {ref.name, ref.revision.empty() ? ref.path : ref.path.parent_path().parent_path()};
}

Json data_of(const Removal& removal, const std::string& wanted_snapshot) {
  Json data = {{"model", removal.repo.name},     {"action", "unknown"},      {"message", ""},
               {"requires_confirmation", false}, {"matches", Json::array()}, {"lock_files_cleaned", 0},
               {"files", removal.files},         {"bytes", removal.bytes}};
  if (!wanted_snapshot.empty()) data["commit_hash"] = wanted_snapshot;
  return data;
}

int answer(const Json& data, bool json) {
  if (json) {
    print_json(success_envelope("rm", data));
    return 0;
  }
  print_line(fmt::format("rm: {} — {}: {}", printable(data["model"].get<std::string>()),
                         data["action"].get<std::string>(), printable(data["message"].get<std::string>())));
  print_line(fmt::format("  {}, {}", counted(data["files"].get<uint64_t>(), "file"),
                         human_size(data["bytes"].get<uint64_t>())));
  return 0;
}

ModelRef resolve(const std::string& spec) {
  std::error_code error;
  if (!fs::is_directory(hub_cache_dir(), error)) {
    throw CommandFailure(ErrorKind::not_found, "cache_not_found",
                         fmt::format("there is no cache at {}", hub_cache_dir().string()));
  }
  try {
    ModelRef ref = resolve_model(model_argument(spec));
    if (ref.cached) return ref;
    throw CommandFailure(ErrorKind::invalid, "workspace_model",
                         fmt::format("Cannot delete workspace model. Use: rm -rf {}", ref.path.string()));
  } catch (const CommandFailure&) {
    throw;
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::not_found) {
      throw Error(e.kind(), fmt::format("No models found matching '{}'", spec), e.hint());
    }
    if (e.kind() != ErrorKind::ambiguous) throw;
    throw CommandFailure(e.kind(), "ambiguous_match", e.what(),
                         {{"model", spec},
                          {"action", "ambiguous"},
                          {"message", e.what()},
                          {"requires_confirmation", false},
                          {"matches", lines_of(e.hint())},
                          {"lock_files_cleaned", 0}},
                         e.hint());
  }
}

int run_rm(const Args& args) {
  const std::string spec = args.word("model");
  const bool force = args.has("--force"), json = args.has("--json"), dry = args.has("--dry-run");
  const ModelRef ref = resolve(spec);
  const CachedRepo repo = repo_of(ref);
  if (const char* strict = std::getenv("MLXK2_STRICT_TEST_DELETE"); strict && std::string_view(strict) == "1") {
    if (repo.path.string().find("mlxk2_test_") == std::string::npos) {
      throw CommandFailure(
          ErrorKind::denied, "permission_denied",
          fmt::format("{} is not in a test cache, and MLXK2_STRICT_TEST_DELETE is set", repo.path.string()));
    }
  }
  const std::string snapshot = spec.find('@') == spec.npos ? "" : ref.revision;
  const Removal removal = plan_removal(repo, snapshot);
  const std::string what = snapshot.empty() ? ref.name : fmt::format("{}@{}", ref.name, snapshot.substr(0, 8));
  Json data = data_of(removal, snapshot);

  const std::string_view name = name_of(spec);
  const bool exact = name == ref.name, expanded = "mlx-community/" + std::string(name) == ref.name;
  if (force && !exact && !expanded && !dry) {
    // A part of a name may match another model tomorrow.
    throw CommandFailure(ErrorKind::invalid, "ValidationError",
                         fmt::format("'{}' is a part of a name; rm needs the full name, '{}'", name, ref.name), data);
  }
  if (dry || (!exact && !force)) {
    data["requires_confirmation"] = !exact;
    data["action"] = !exact ? "requires_confirmation" : snapshot.empty() ? "delete_model" : "delete_hash";
    data["message"] = exact ? fmt::format("Would delete '{}'", what)
                            : fmt::format("Would delete '{}' (matched from '{}'); to delete it, give the full name{}",
                                          what, spec, expanded ? " or add --force" : "");
    return answer(data, json);
  }
  if (const auto held = held_locks(lock_files(repo.path)); !held.empty()) {
    data["locks_detected"] = true;
    for (const auto& file : held) data["lock_files"].push_back(file.string());
    if (!force) {
      throw CommandFailure(ErrorKind::unavailable, "locks_present", "Model has active locks. Use --force to override.",
                           data, "another process downloads this model");
    }
  }
  try {
    data["lock_files_cleaned"] = remove(removal);
  } catch (const Error& e) {
    throw CommandFailure(e.kind(), e.kind() == ErrorKind::denied ? "permission_denied" : "deletion_failed", e.what(),
                         data);
  }
  data["action"] = "deleted";
  data["message"] =
      snapshot.empty() ? fmt::format("Deleted entire model {}", ref.name) : fmt::format("Deleted {}", what);
  return answer(data, json);
}

}  // namespace

extern const Command kRmCommand;
const Command kRmCommand = {
    .name = "rm",
    .help = "remove a model from the cache, or with MODEL@REVISION one snapshot of it",
    .positionals = {{"model", PositionalKind::required, "the full name of a cached model"}},
    .options = {{.name = "--force", .help = "even during a download, and by a short name", .short_name = 'f'},
                {.name = "--dry-run", .help = "only show what would be removed"},
                json_option()},
    .run = run_rm,
    .environment = model_places(),
};

}  // namespace mlxk
