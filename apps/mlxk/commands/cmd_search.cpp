// `mlxk search QUERY`: models on the hub.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/table.h"
#include "commands/command.h"
#include "hub/cache.h"
#include "hub/hub_client.h"
#include "hub/resolve.h"
#include "json/api.h"
#include "json/member.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

uint64_t count_of(const Json& entry, const char* key) {
  const Json& value = value_at(entry, key);
  return value.is_number_unsigned() ? value.get<uint64_t>() : 0;
}

/// The hub's description of a model as ours; null when it names none.
Json model_of(const Json& entry, const std::vector<CachedRepo>& cached) {
  const std::string name = string_at(entry, "id");
  if (name.empty()) return nullptr;
  const bool here =
      std::any_of(cached.begin(), cached.end(), [&](const CachedRepo& repo) { return repo.name == name; });
  const std::string modified = string_at(entry, "lastModified"), task = string_at(entry, "pipeline_tag");
  return {{"name", name},
          {"downloads", count_of(entry, "downloads")},
          {"likes", count_of(entry, "likes")},
          {"last_modified", modified.size() >= 19 ? Json(modified.substr(0, 19) + "Z") : Json()},
          {"task", task.empty() ? Json() : Json(task)},
          {"gated", hub_flag(entry, "gated")},
          {"private", hub_flag(entry, "private")},
          {"cached", here}};
}

int run_search(const Args& args) {
  const InterruptGuard guard;
  HubClient hub(hub_settings(), interrupted);
  const std::string query = fmt::format("{}", fmt::join(args.words("query"), " "));
  const Json found = hub.search(query, args.has("--all") ? "" : "mlx", static_cast<int>(args.integer("--limit")));
  const auto cached = cached_repos(hub_cache_dir());
  Json models = Json::array();
  for (const Json& entry : found) {
    if (Json model = model_of(entry, cached); !model.is_null()) models.push_back(std::move(model));
  }
  if (args.has("--json")) {
    const size_t count = models.size();
    print_json(success_envelope("search", {{"query", query}, {"models", std::move(models)}, {"count", count}}));
    return 0;
  }
  std::vector<TableRow> rows;
  for (const Json& model : models) {
    const auto date = model["last_modified"], task = model["task"];
    rows.push_back({printable(model["name"].get<std::string>()), fmt::format("{}", model["downloads"].get<uint64_t>()),
                    fmt::format("{}", model["likes"].get<uint64_t>()),
                    date.is_null() ? "-" : printable(date.get<std::string>().substr(0, 10)),
                    task.is_null() ? "-" : printable(task.get<std::string>()),
                    model["private"].get<bool>() ? "private"
                    : model["gated"].get<bool>() ? "gated"
                                                 : "open",
                    model["cached"].get<bool>() ? "✓" : "-"});
  }
  const std::string table = render_table({"Name", "Downloads", "Likes", "Modified", "Task", "Access", "Cached"}, rows);
  print_line(table.substr(0, table.size() - 1));
  return 0;
}

}  // namespace

extern const Command kSearchCommand;
const Command kSearchCommand = {
    .name = "search",
    .help = "find models on the hub",
    .positionals = {{"query", PositionalKind::rest, "words to find in names; none: most downloaded"}},
    .options = {{.name = "--all", .help = "models in every format, not only MLX"},
                {.name = "--limit",
                 .kind = OptionKind::integer,
                 .metavar = "N",
                 .help = "at most N results",
                 .default_value = "20",
                 .min = 1,
                 .max = 1000},
                json_option()},
    .run = run_search,
    .environment = {{"HF_ENDPOINT", "address of the hub"},
                    {"HF_TOKEN", "token, to find private models too"},
                    {"HF_HUB_OFFLINE", "1: make no connection"}},
};

}  // namespace mlxk
