// `mlxk prune [PATTERN]`: frees space that no model uses: blobs without a snapshot, unfinished downloads, killed
// removals, imports of deleted GGUF files.
#include <fmt/format.h>

#include <optional>

#include "base/counted.h"
#include "base/file.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "hub/locks.h"
#include "hub/removal.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "run/gguf_import.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// All locks of a repository, held; none if a download holds one: its blobs are linked only after they are complete.
std::optional<std::vector<FileLock>> lock_all(const CachedRepo& repo) {
  std::vector<FileLock> locks;
  for (const auto& file : lock_files(repo.path)) {
    locks.push_back(FileLock::try_lock(file));
    if (!locks.back().held()) return std::nullopt;
  }
  return locks;
}

class Prune {
 public:
  explicit Prune(bool dry) : dry_(dry) {}

  void take(const fs::path& path, const char* what) {
    const uint64_t bytes = fs::is_directory(fs::symlink_status(path)) ? bytes_below(path) : fs::file_size(path);
    if (!dry_) {
      std::error_code error;
      fs::remove_all(path, error);
      if (error) {
        throw CommandFailure(ErrorKind::io, "deletion_failed",
                             fmt::format("cannot remove {}: {}", path.string(), error.message()), data());
      }
    }
    removed_.push_back({{"path", path.string()}, {"kind", what}, {"bytes", bytes}});
    bytes_ += bytes;
  }
  void skip(const std::string& model) { skipped_.push_back(model); }
  Json data() const { return {{"dry_run", dry_}, {"removed", removed_}, {"bytes", bytes_}, {"skipped", skipped_}}; }

 private:
  bool dry_;
  Json removed_ = Json::array(), skipped_ = Json::array();
  uint64_t bytes_ = 0;
};

int run_prune(const Args& args) {
  const std::string pattern = args.word("pattern");
  Prune prune(args.has("--dry-run"));
  if (pattern.empty()) {
    for (const auto& path : orphaned_imports()) prune.take(path, "import");
    for (const auto& path : leftovers(hub_cache_dir())) prune.take(path, "removal");
  }
  for (const auto& repo : cached_repos(hub_cache_dir())) {
    if (!holds_name(repo.name, pattern)) continue;
    const auto locks = lock_all(repo);
    if (!locks) {
      prune.skip(repo.name);
      continue;
    }
    const RepoUsage usage = usage_of(repo);
    for (const auto& path : usage.orphans) prune.take(path, "unused");
    for (const auto& path : usage.partials) prune.take(path, "unfinished");
  }
  const Json data = prune.data();
  if (args.has("--json")) {
    print_json(success_envelope("prune", data));
    return 0;
  }
  for (const Json& item : data["removed"]) {
    print_line(fmt::format("{:<10} {:>8}  {}", item["kind"].get<std::string>(),
                           human_size(item["bytes"].get<uint64_t>()), printable(item["path"].get<std::string>())));
  }
  for (const Json& name : data["skipped"]) {
    print_line(fmt::format("skipped    {} is being downloaded", printable(name.get<std::string>())));
  }
  print_line(fmt::format("prune: {} {} in {}", args.has("--dry-run") ? "would free" : "freed",
                         human_size(data["bytes"].get<uint64_t>()), counted(data["removed"].size(), "file")));
  return 0;
}

}  // namespace

extern const Command kPruneCommand;
const Command kPruneCommand = {
    .name = "prune",
    .help = "free space that no model uses: unused blobs, unfinished downloads, imports of deleted GGUF files",
    .positionals = {{"pattern", PositionalKind::optional, "part of a name; default: all models"}},
    .options = {{.name = "--dry-run", .help = "only show what would be removed"}, json_option()},
    .run = run_prune,
    .environment = model_places(),
};

}  // namespace mlxk
