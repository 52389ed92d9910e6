// `mlxk health [MODEL]`: are the files of the models whole?
#include <fmt/format.h>

#include <set>

#include "command.h"
#include "json/api.h"
#include "output.h"
#include "probe/model_entry.h"
#include "table.h"

namespace mlxk {

namespace {

/// The models asked for: all (a workspace hides the cached model that it has the name of), or the one that `spec`
/// means.
std::vector<ModelRef> select(const std::string& spec) {
  if (spec.empty()) {
    std::vector<ModelRef> workspaces, cached;
    for (auto& ref : list_models()) (ref.cached ? cached : workspaces).push_back(std::move(ref));
    std::set<std::string> seen;
    for (const auto& ref : workspaces) seen.insert(ref.display_name);
    for (auto& ref : cached) {
      if (!seen.count(ref.name.substr(ref.name.rfind('/') + 1))) workspaces.push_back(std::move(ref));
    }
    return workspaces;
  }
  try {
    return {resolve_model(spec)};
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::not_found) throw;
    return {};  // nothing there is nothing unhealthy
  }
}

int run(const Args& args) {
  std::vector<ModelInfo> models;
  for (const auto& ref : select(args.word("model"))) models.push_back(probe_model(ref));
  const Json data = health_data(models);
  if (args.has("--json")) {
    print_json(success_envelope("health", data));
    return 0;
  }
  const Json& summary = data["summary"];
  if (summary["total"] != 1) {
    print_line(fmt::format("Summary: total {}, healthy {}, unhealthy {}", summary["total"].get<size_t>(),
                           summary["healthy_count"].get<size_t>(), summary["unhealthy_count"].get<size_t>()));
  }
  for (const char* status : {"healthy", "unhealthy"}) {
    for (const Json& entry : data[status]) {
      print_line(fmt::format("{:<9} {} — {}", status, printable(entry["name"].get<std::string>()),
                             printable(entry["reason"].get<std::string>())));
    }
  }
  return 0;
}

}  // namespace

extern const Command kHealthCommand;
const Command kHealthCommand = {
    .name = "health",
    .help = "check the files of one model or of all",
    .positionals = {{"model", PositionalKind::optional, "a model; all when absent"}},
    .options = {json_option()},
    .run = run,
};

}  // namespace mlxk
