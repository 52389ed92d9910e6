#include "commands/pull_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/counted.h"
#include "base/file.h"
#include "cli/table.h"
#include "hub/cache.h"
#include "hub/snapshot_writer.h"
#include "policy/policy.h"
#include "probe/files.h"
#include "probe/model_entry.h"

namespace mlxk {

namespace {

uint64_t weight_bytes(const PullPlan& plan) {
  uint64_t bytes = 0;
  for (const auto& file : plan.files) {
    if (is_weight_file({file.path, file.size})) bytes += file.size;
  }
  return bytes;
}

/// The differences between a snapshot's files and its recorded listing; empty if there is no listing.
struct Difference {
  size_t missing = 0, wrong_size = 0;
};

Difference difference_of(const CachedRepo& repo, const std::string& commit) {
  Difference difference;
  for (const auto& file : recorded_tree(repo.path, commit)) {
    std::error_code error;
    const uint64_t size = fs::file_size(repo.path / "snapshots" / commit / file.path, error);
    if (error) {
      ++difference.missing;
    } else if (size != file.size) {
      ++difference.wrong_size;
    }
  }
  return difference;
}

}  // namespace

CachedState cached_state(const std::string& name, const std::string& revision, const fs::path& cache) {
  const CachedRepo repo{name, cache / repo_folder(name)};
  std::error_code error;
  CachedState state;
  if (!fs::is_directory(repo.path, error)) return state;
  if (revision.empty()) {
    state.present = true;
    state.commit = default_snapshot(repo).value_or("");
  } else {
    const auto found = find_snapshots(repo, revision);
    state.present = found.size() == 1;
    if (state.present) state.commit = found.front();
  }
  if (!state.present) return state;
  if (state.commit.empty()) {
    state.reason = "a download was interrupted";
    state.partial = true;
    return state;
  }
  const ModelInfo info = probe_model({name, repo.path / "snapshots" / state.commit, state.commit, true});
  const auto [missing, wrong_size] = difference_of(repo, state.commit);
  state.whole = info.healthy && missing == 0;
  state.partial = missing > 0 && wrong_size == 0;
  state.reason = state.partial ? fmt::format("{} missing", counted(missing, "file")) : info.health_reason;
  return state;
}

Json dry_run_data(const PullPlan& plan) {
  Json files = Json::array();
  for (size_t i = 0; i < plan.files.size(); ++i) {
    const HubFile& file = plan.files[i];
    files.push_back({{"name", file.path}, {"size_bytes", file.size}, {"cached", plan.at_hand[i] == file.size}});
  }
  const Machine machine = this_machine();
  const uint64_t weights = weight_bytes(plan);
  return {{"dry_run", true},
          {"files", std::move(files)},
          {"total_bytes", plan.total_bytes},
          {"download_bytes", plan.missing_bytes},
          {"disk_free_bytes", plan.free_bytes == 0 ? Json() : Json(plan.free_bytes)},
          {"fits_disk", plan.fits_disk()},
          {"weight_bytes", weights},
          {"memory_bytes", machine.memory_bytes == 0 ? Json() : Json(machine.memory_bytes)},
          {"fits_memory", fits_memory(weights, machine)}};
}

std::string dry_run_text(const PullPlan& plan) {
  std::vector<TableRow> rows;
  for (size_t i = 0; i < plan.files.size(); ++i) {
    const uint64_t size = plan.files[i].size, had = plan.at_hand[i];
    rows.push_back({printable(plan.files[i].path), human_size(size),
                    had == size ? "yes"
                    : had > 0   ? human_size(had)
                                : "-"});
  }
  const Machine machine = this_machine();
  const uint64_t weights = weight_bytes(plan);
  std::string text = render_table({"File", "Size", "Cached"}, rows);
  text += fmt::format("Total: {}, {}; {} to download\n", counted(plan.files.size(), "file"),
                      human_size(plan.total_bytes), human_size(plan.missing_bytes));
  text += fmt::format("Disk: {} ({})\n", plan.fits_disk() ? "fits" : "does not fit",
                      plan.free_bytes == 0 ? "free space unknown" : human_size(plan.free_bytes) + " free");
  text += fmt::format(
      "Memory: {} ({} of weights, {})", fits_memory(weights, machine) ? "fits" : "does not fit", human_size(weights),
      machine.memory_bytes == 0 ? "memory unknown"
                                : human_size(machine.memory_bytes) + " of " + machine.device + " memory");
  return text;
}

}  // namespace mlxk
