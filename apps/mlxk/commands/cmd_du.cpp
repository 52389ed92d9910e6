// `mlxk du [PATTERN]`: the disk usage of the cached models, the largest first.
#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "hub/removal.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

struct Row {
  std::string name;
  size_t snapshots;
  RepoUsage usage;
};

int run_du(const Args& args) {
  std::vector<Row> rows;
  Row total{"total", 0, {}};
  for (const auto& repo : cached_repos(hub_cache_dir())) {
    if (!holds_name(repo.name, args.word("pattern"))) continue;
    rows.push_back({repo.name, snapshots(repo).size(), usage_of(repo)});
    total.snapshots += rows.back().snapshots;
    total.usage.bytes += rows.back().usage.bytes;
    total.usage.orphan_bytes += rows.back().usage.orphan_bytes;
    total.usage.partial_bytes += rows.back().usage.partial_bytes;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.usage.bytes > b.usage.bytes; });
  uint64_t left_over = 0;
  for (const auto& path : leftovers(hub_cache_dir())) left_over += bytes_below(path);
  std::error_code error;
  const auto space = fs::space(hub_cache_dir(), error);
  const uint64_t free_bytes = error ? 0 : space.available;

  if (args.has("--json")) {
    Json models = Json::array();
    for (const auto& row : rows) {
      models.push_back({{"name", row.name},
                        {"snapshots", row.snapshots},
                        {"bytes", row.usage.bytes},
                        {"orphan_bytes", row.usage.orphan_bytes},
                        {"partial_bytes", row.usage.partial_bytes}});
    }
    print_json(success_envelope("du", {{"cache", hub_cache_dir().string()},
                                       {"models", models},
                                       {"bytes", total.usage.bytes},
                                       {"orphan_bytes", total.usage.orphan_bytes},
                                       {"partial_bytes", total.usage.partial_bytes},
                                       {"leftover_bytes", left_over},
                                       {"free_bytes", free_bytes}}));
    return 0;
  }
  std::vector<TableRow> cells;
  const auto add = [&cells](const Row& row) {
    const auto size_or_dash = [](uint64_t bytes) { return bytes ? human_size(bytes) : "-"; };
    cells.push_back({printable(row.name), human_size(row.usage.bytes), fmt::format("{}", row.snapshots),
                     size_or_dash(row.usage.orphan_bytes), size_or_dash(row.usage.partial_bytes)});
  };
  for (const auto& row : rows) add(row);
  add(total);
  const std::string text = render_table({"Name", "Size", "Snapshots", "Unused", "Unfinished"}, cells);
  print_line(std::string_view(text).substr(0, text.size() - 1));
  print_line(fmt::format("{} free in {}", human_size(free_bytes), hub_cache_dir().string()));
  const uint64_t prunable = total.usage.orphan_bytes + total.usage.partial_bytes + left_over;
  if (prunable) print_line(fmt::format("mlxk prune would free {}", human_size(prunable)));
  return 0;
}

}  // namespace

extern const Command kDuCommand;
const Command kDuCommand = {
    .name = "du",
    .help = "show the disk usage of the cached models",
    .positionals = {{"pattern", PositionalKind::optional, "part of a name"}},
    .options = {json_option()},
    .run = run_du,
    .environment = model_places(),
};

}  // namespace mlxk
