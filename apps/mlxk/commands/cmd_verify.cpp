// `mlxk verify [MODEL]`: reads every file and compares it with the recorded hashes, with the hub, or with a lock file.
#include <fmt/format.h>

#include <algorithm>

#include "base/counted.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "hub/lock_file.h"
#include "hub/verify.h"
#include "json/api.h"
#include "probe/model_info.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "terminal/progress_line.h"

namespace mlxk {

namespace {

using State = VerifiedFile::State;

const char* word_of(State state) {
  switch (state) {
    case State::ok: return "ok";
    case State::wrong: return "wrong";
    case State::missing: return "missing";
    case State::unrecorded: return "unrecorded";
  }
  return "";
}

/// The result for one model's files.
struct Verdict {
  std::string model, revision, against;  // "cache", "hub", "lock", "workspace"
  std::vector<VerifiedFile> files;
  std::string unhealthy;  // why `health` says that the model is unhealthy; empty: it does not

  size_t count(State state) const {
    return static_cast<size_t>(
        std::count_if(files.begin(), files.end(), [&](const auto& file) { return file.state == state; }));
  }
  bool matches() const { return count(State::wrong) + count(State::missing) == 0; }
  bool good() const { return matches() && unhealthy.empty(); }
};

Verdict verify(const ModelRef& ref, bool hub, const LockedModel* locked, ProgressLine& line) {
  Verdict verdict{ref.name, ref.revision, "cache", {}, {}};
  const ModelInfo info = probe_model(ref);
  if (!info.healthy) verdict.unhealthy = info.health_reason;
  if (ref.cached && ref.revision.empty()) return verdict;  // no snapshot, so there is no file to look at
  const auto progress = [&](const std::string& path, uint64_t done, uint64_t total) { line.show(path, done, total); };
  if (locked) {
    verdict.against = "lock";
    verdict.files = verify_files(ref.path, locked->files, progress);
  } else if (hub) {
    if (!ref.cached)
      throw Error(ErrorKind::invalid, fmt::format("{} is a workspace, which the hub does not know", ref.name));
    verdict.against = "hub";
    HubClient client(hub_settings(), interrupted);
    verdict.files = verify_files(ref.path, client.tree(client.repo(ref.name, ref.revision)), progress);
  } else if (ref.cached) {
    verdict.files = verify_files(ref.path, recorded_files(ref), progress);
  } else {
    verdict.against = "workspace";
    verdict.files = verify_workspace(ref.path);
  }
  return verdict;
}

Json data_of(const std::vector<Verdict>& verdicts) {
  Json models = Json::array();
  bool good = true;
  for (const auto& verdict : verdicts) {
    Json files = Json::array();
    for (const auto& file : verdict.files) {
      files.push_back({{"path", file.path},
                       {"state", word_of(file.state)},
                       {"size", file.size},
                       {"sha256", file.sha256.empty() ? Json() : Json(file.sha256)},
                       {"reason", file.reason.empty() ? Json() : Json(file.reason)}});
    }
    models.push_back({{"model", verdict.model},
                      {"revision", verdict.revision.empty() ? Json() : Json(verdict.revision)},
                      {"against", verdict.against},
                      {"verified", verdict.good()},
                      {"unhealthy", verdict.unhealthy.empty() ? Json() : Json(verdict.unhealthy)},
                      {"files", files}});
    good = good && verdict.good();
  }
  return {{"verified", good}, {"models", models}};
}

/// "the recorded hashes", "the hub", "the lock file"
const char* standard_of(const Verdict& verdict) {
  return verdict.against == "hub" ? "the hub" : verdict.against == "lock" ? "the lock file" : "the recorded hashes";
}

void print_verdict(const Verdict& verdict) {
  for (const auto& file : verdict.files) {
    if (file.state == State::ok) continue;
    const std::string reason = file.reason.empty() ? "" : " (" + file.reason + ")";
    print_line(fmt::format("  {:<10} {}{}", word_of(file.state), printable(file.path), printable(reason)));
  }
  std::string text =
      verdict.matches() ? counted(verdict.count(State::ok), "file") : fmt::format("{} ok", verdict.count(State::ok));
  for (const State state : {State::wrong, State::missing, State::unrecorded}) {
    if (const size_t count = verdict.count(state)) text += fmt::format(", {} {}", count, word_of(state));
  }
  std::string line = fmt::format("verify: {}{} — ", verdict.model,
                                 verdict.revision.empty() ? "" : "@" + verdict.revision.substr(0, 7));
  if (!verdict.unhealthy.empty()) line += fmt::format("unhealthy: {}", verdict.unhealthy);
  if (!verdict.unhealthy.empty() && !verdict.files.empty()) line += "; ";
  if (verdict.unhealthy.empty() || !verdict.files.empty()) {
    line += fmt::format("{} {}: {}", verdict.matches() ? "matches" : "does not match", standard_of(verdict), text);
  }
  print_line(printable(line));
}

/// The requested models, each with its entry of the lock file, if that is used.
std::vector<std::pair<ModelRef, const LockedModel*>> select(const std::string& word,
                                                            const std::vector<LockedModel>& locked, bool by_lock) {
  std::vector<std::pair<ModelRef, const LockedModel*>> chosen;
  if (!by_lock) return {{resolve_model(model_argument(word)), nullptr}};
  const std::string wanted = word.empty() ? "" : resolve_model(word).name;
  for (const auto& model : locked) {
    if (word.empty() || model.name == wanted)
      chosen.emplace_back(resolve_model(model.name + "@" + model.revision), &model);
  }
  if (chosen.empty()) throw Error(ErrorKind::not_found, fmt::format("the lock file has no model {}", wanted));
  return chosen;
}

/// `ref` with the hashes that were just verified.
void write_lock(const std::string& path, const Verdict& verdict) {
  LockedModel locked{verdict.model, verdict.revision, {}};
  for (const auto& file : verdict.files)
    locked.files.push_back({.path = file.path, .size = file.size, .sha256 = file.sha256});
  write_lock_file(path, locked);
}

int run_verify(const Args& args) {
  const InterruptGuard guard;
  const bool json = args.has("--json"), by_lock = args.has("--lock");
  const std::string word = args.word("model"), write_to = args.text("--write-lock");
  if (word.empty() && !by_lock) throw Error(ErrorKind::usage, "verify needs a model, or --lock FILE");
  if (by_lock && args.has("--hub")) throw Error(ErrorKind::usage, "--hub and --lock exclude each other");
  const auto locked = by_lock ? read_lock_file(args.text("--lock")) : std::vector<LockedModel>{};
  std::vector<Verdict> verdicts;
  {
    ProgressLine line(json);
    for (const auto& [ref, entry] : select(word, locked, by_lock))
      verdicts.push_back(verify(ref, args.has("--hub"), entry, line));
  }
  const Json data = data_of(verdicts);
  const bool good = data["verified"];
  if (good && !write_to.empty()) {
    if (verdicts.front().revision.empty()) throw Error(ErrorKind::invalid, "a workspace has no revision to lock");
    for (const auto& verdict : verdicts) write_lock(write_to, verdict);
  }
  if (!json) {
    for (const auto& verdict : verdicts) print_verdict(verdict);
    return good ? 0 : 1;
  }
  if (!good)
    throw CommandFailure(ErrorKind::bad_model, "verification_failed",
                         "the model is unhealthy, or a file does not match", data);
  print_json(success_envelope("verify", data));
  return 0;
}

}  // namespace

extern const Command kVerifyCommand;
const Command kVerifyCommand = {
    .name = "verify",
    .help = "read every file of a model and compare it with its recorded hash",
    .positionals = {{"model", PositionalKind::optional, "a model; default: all of the lock file"}},
    .options = {{.name = "--hub", .help = "compare with the hub's files at that revision"},
                {.name = "--lock", .kind = OptionKind::text, .metavar = "FILE", .help = "compare with a lock file"},
                {.name = "--write-lock",
                 .kind = OptionKind::text,
                 .metavar = "FILE",
                 .help = "record name, revision and hashes in FILE, for pull --locked"},
                json_option()},
    .run = run_verify,
    .environment = model_places(),
};

}  // namespace mlxk
