// `mlxk health [MODEL]`: checks whether the models' files are complete and valid.
#include <fmt/format.h>

#include <set>

#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "commands/command.h"
#include "gguf/gguf.h"
#include "json/api.h"
#include "probe/model_entry.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// The requested models: all (a workspace hides a cached model of the same name), or the one that `spec` names.
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
    return {resolve_model(model_argument(spec))};
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::not_found) throw;
    return {};  // without models nothing is unhealthy
  }
}

/// A GGUF file by its header: complete and consistent, or not.
ModelInfo probe_gguf(const std::string& file) {
  ModelInfo info;
  info.ref = {file, file, "", false};
  try {
    GgufFile::open(file);
    info.healthy = true;
    info.health_reason = "GGUF file is healthy";
  } catch (const Error& e) {
    info.health_reason = e.what();
  }
  return info;
}

int run_health(const Args& args) {
  std::vector<ModelInfo> models;
  const std::string word = args.word("model");
  if (is_gguf_argument(word)) {
    models.push_back(probe_gguf(word));
  } else {
    for (const auto& ref : select(word)) models.push_back(probe_model(ref));
  }
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
    .positionals = {{"model", PositionalKind::optional, "a model or a .gguf file; default: all models"}},
    .options = {json_option()},
    .run = run_health,
    .environment = model_places(),
};

}  // namespace mlxk
