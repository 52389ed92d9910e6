// `mlxk doctor`: checks this machine, this cache and this build.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/counted.h"
#include "base/file.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "engine/open.h"
#include "hub/hub_settings.h"
#include "hub/locks.h"
#include "hub/removal.h"
#include "hub/resolve.h"
#include "hub/workspace.h"
#include "json/api.h"
#include "policy/machine.h"
#include "probe/model_info.h"
#include "report/machine_facts.h"
#include "terminal/output.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

constexpr uint64_t kLittleSpace = uint64_t{5} << 30;

class DoctorReport {
 public:
  void ok(const char* name, const std::string& message) { add(name, "ok", message, ""); }
  void warn(const char* name, const std::string& message, const std::string& hint) {
    add(name, "warning", message, hint);
  }
  void fail(const char* name, const std::string& message, const std::string& hint) {
    add(name, "error", message, hint);
    failed_ = true;
  }
  const Json& checks() const { return checks_; }
  bool failed() const { return failed_; }

 private:
  void add(const char* name, const char* status, const std::string& message, const std::string& hint) {
    checks_.push_back(
        {{"name", name}, {"status", status}, {"message", message}, {"hint", hint.empty() ? Json() : Json(hint)}});
  }
  Json checks_ = Json::array();
  bool failed_ = false;
};

void check_versions(DoctorReport& report) {
  report.ok("version", fmt::format("mlxk {}, JSON API {}", MLXK_VERSION, kJsonApiVersion));
}

void check_machine(DoctorReport& report) {
  const MachineFacts facts = machine_facts();
  report.ok("cpu", fmt::format("{}, {} cores usable", facts.cpu.empty() ? "unknown" : facts.cpu, facts.cores));
  try {
    const Machine machine = this_machine();
    report.ok("memory", fmt::format("{} for models ({}), {} free", human_size(machine.memory_bytes), machine.device,
                                    human_size(machine.free_bytes)));
  } catch (const Error& e) {
    report.fail("memory", e.what(), e.hint());
  }
}

void check_engine(DoctorReport& report) {
  try {
    Worker worker(open_engine);
    const DeviceFacts device = worker.device();
    report.ok("engine", fmt::format("libmlx {} on {}", device.mlx_version, device.name));
  } catch (const Error& e) {
    report.fail("engine", e.what(), e.hint());
  }
}

void check_cache(DoctorReport& report) {
  const fs::path cache = hub_cache_dir();
  std::error_code error;
  if (!fs::exists(cache, error)) {
    report.warn("cache", fmt::format("{} does not exist yet", cache.string()), "the first pull creates it");
    return;
  }
  if (!fs::is_directory(cache, error)) {
    report.fail("cache", fmt::format("{} is not a folder", cache.string()), "set HF_HOME or HF_HUB_CACHE to one");
    return;
  }
  if (access(cache.c_str(), R_OK | X_OK) != 0) {
    report.fail("cache", fmt::format("{} cannot be read", cache.string()), "check its owner and permissions");
    return;
  }
  const auto repos = cached_repos(cache);
  if (access(cache.c_str(), W_OK) != 0) {
    report.warn("cache", fmt::format("{} is read-only, {}", cache.string(), counted(repos.size(), "model")),
                "models run, but pull and rm do not work");
  } else {
    report.ok("cache", fmt::format("{} in {}", counted(repos.size(), "model"), cache.string()));
  }
  const auto space = fs::space(cache, error);
  if (!error && space.available < kLittleSpace) {
    report.warn("disk", fmt::format("{} free", human_size(space.available)), "`mlxk du` shows what takes the space");
  } else if (!error) {
    report.ok("disk", fmt::format("{} free", human_size(space.available)));
  }

  uint64_t prunable = 0;
  std::vector<std::string> downloading, unreadable;
  for (const auto& path : leftovers(cache)) prunable += bytes_below(path);
  for (const auto& repo : repos) {
    const RepoUsage usage = usage_of(repo);
    prunable += usage.orphan_bytes + usage.partial_bytes;
    if (!held_locks(lock_files(repo.path)).empty()) downloading.push_back(repo.name);
    if (access(repo.path.c_str(), R_OK | X_OK) != 0) unreadable.push_back(repo.name);
  }
  for (const auto& name : unreadable)
    report.fail("permissions", fmt::format("{} cannot be read", name), "check its owner");
  for (const auto& name : downloading) report.ok("downloads", fmt::format("{} is being downloaded", name));
  if (prunable)
    report.warn("unused", fmt::format("{} in unfinished downloads and unused blobs", human_size(prunable)),
                "`mlxk prune` frees them");
}

void check_models(DoctorReport& report) {
  size_t all = 0, unhealthy = 0;
  for (const auto& ref : list_models()) {
    ++all;
    if (!probe_model(ref).healthy) ++unhealthy;
  }
  if (unhealthy > 0) {
    report.warn("models", fmt::format("{} of {} unhealthy", unhealthy, counted(all, "model")),
                "`mlxk health` says which and why");
  } else {
    report.ok("models", all == 0 ? "none yet" : counted(all, "model") + ", none unhealthy");
  }
}

void check_workspaces(DoctorReport& report) {
  const char* set = std::getenv("MLXK_WORKSPACE_HOME");
  if (!set || !*set) return;
  if (const auto home = workspace_home()) {
    report.ok("workspaces", fmt::format("{} in {}", counted(workspaces_in(*home).size(), "workspace"), home->string()));
  } else {
    report.warn("workspaces", fmt::format("MLXK_WORKSPACE_HOME={} is not a folder", set), "it is ignored");
  }
}

void check_hub(DoctorReport& report) {
  try {
    const HubSettings settings = hub_settings();
    report.ok("hub",
              fmt::format("{}{}", printable(settings.endpoint), settings.offline ? ", offline by HF_HUB_OFFLINE" : ""));
    report.ok("token", settings.token.empty() ? "no hub token is set" : "a hub token is set");
  } catch (const Error& e) {
    report.fail("hub", e.what(), e.hint());
  }
}

int run_doctor(const Args& args) {
  DoctorReport report;
  check_versions(report);
  check_machine(report);
  check_engine(report);
  check_cache(report);
  check_models(report);
  check_workspaces(report);
  check_hub(report);
  if (args.has("--json")) {
    print_json(success_envelope("doctor", {{"healthy", !report.failed()}, {"checks", report.checks()}}));
    return report.failed() ? 1 : 0;
  }
  for (const Json& check : report.checks()) {
    const std::string status = check["status"];
    const char* mark = status == "ok" ? "✓" : status == "warning" ? "⚠" : "✗";
    print_line(fmt::format("{} {:<12} {}", mark, check["name"].get<std::string>(),
                           printable(check["message"].get<std::string>())));
    if (!check["hint"].is_null())
      print_line(fmt::format("  {:<12} → {}", "", printable(check["hint"].get<std::string>())));
  }
  return report.failed() ? 1 : 0;
}

}  // namespace

extern const Command kDoctorCommand;
const Command kDoctorCommand = {
    .name = "doctor",
    .help = "check the cache, its permissions, the device, the memory and the versions",
    .options = {json_option()},
    .run = run_doctor,
    .environment = model_places(),
};

}  // namespace mlxk
