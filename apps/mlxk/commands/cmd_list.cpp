// `mlxk list [PATTERN]`: the models on this disk.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "base/counted.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "json/api.h"
#include "probe/built_in.h"
#include "selftest/verdicts.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

constexpr size_t kMaxReason = 57, kReasonWidth = 26, kArchitecturesWidth = 80;

std::string reason_cell(const std::string& reason) {
  if (reason.empty()) return "-";
  const std::string text = printable(reason);
  if (text_width(text) <= kMaxReason) return wrap_words(text, kReasonWidth);
  size_t end = 0;
  for (size_t shown = 0; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xC0) != 0x80 && shown++ == kMaxReason) break;
  }
  return wrap_words(text.substr(0, end) + "...", kReasonWidth);
}

struct Columns {
  bool all, verbose, health, selftest;
};

std::string table(const std::vector<ModelEntry>& models, const Columns& columns) {
  const auto& [all, verbose, health, selftest] = columns;
  const bool wide = all || verbose;
  TableRow header = wide ? TableRow{"Name", "Hash", "Size", "Modified", "Src", "Clean", "Framework", "Type"}
                         : TableRow{"Name", "Hash", "Size", "Modified", "Src", "Type"};
  if (health && verbose) {
    header.insert(header.end(), {"Integrity", "Runtime", "Reason"});
  } else if (health) {
    header.emplace_back("Health");
  }
  if (selftest) header.emplace_back("Selftest");
  const SelftestVerdicts verdicts;
  std::vector<TableRow> rows;
  const std::time_t now = std::time(nullptr);
  for (const auto& entry : models) {
    const ModelInfo& info = entry.info;
    if (!all && !is_usable(info)) continue;
    TableRow row = {name_text(info, !verbose), short_hash(entry), human_size(info.size_bytes),
                    time_ago(entry.modified, now), source_text(entry)};
    if (wide) row.insert(row.end(), {clean_text(entry), info.framework});
    row.push_back(type_text(info));
    if (health && verbose) {
      const std::string runs = !info.healthy ? "-" : is_usable(info) ? "yes" : "no";
      row.insert(row.end(), {info.healthy ? "healthy" : "unhealthy", runs, reason_cell(info.reason)});
    } else if (health) {
      row.push_back(health_text(info));
    }
    if (selftest) row.push_back(printable(verdict_text(verdicts.find(info))));
    rows.push_back(std::move(row));
  }
  return render_table(header, rows);
}

/// Calls describe_model for every `ref`, many at once because it waits for the disk.
std::vector<ModelEntry> describe_all(const std::vector<ModelRef>& refs) {
  constexpr size_t kTogether = 16;  // models a thread takes at a time
  std::vector<ModelEntry> models(refs.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t begin; (begin = next.fetch_add(kTogether)) < refs.size();) {
      for (size_t i = begin; i < std::min(begin + kTogether, refs.size()); ++i) models[i] = describe_model(refs[i]);
    }
  };
  const size_t threads = std::min<size_t>({refs.size() / kTogether + 1, std::thread::hardware_concurrency(), 8});
  std::vector<std::future<void>> others;
  for (size_t i = 1; i < threads; ++i) others.push_back(std::async(std::launch::async, work));
  work();
  for (auto& other : others) other.get();
  return models;
}

/// The notes below the table: omitted models, a hint if it is empty, and the default model.
void print_notes(const Args& args, const std::vector<ModelEntry>& models) {
  const bool pattern = !args.word("pattern").empty();
  const auto hidden = static_cast<uint64_t>(
      std::count_if(models.begin(), models.end(), [](const auto& entry) { return !is_usable(entry.info); }));
  if (models.empty() && pattern) {
    print_line(fmt::format("\nNo model matches '{}'.", printable(args.word("pattern"))));
  } else if (models.empty()) {
    print_line("\nNo models yet: `mlxk search WORDS` finds some, `mlxk pull ORG/NAME` downloads one.");
  } else if (hidden == models.size() && !args.has("--all")) {
    print_line(fmt::format("\n{} broken or not runnable here: `mlxk list --all --health` shows {}.",
                           counted(hidden, "model"), hidden == 1 ? "it" : "them"));
  }
  if (pattern) return;
  if (const std::string model = default_model(); !model.empty()) {
    print_line(fmt::format("\nDefault model (of bench): {}", printable(model)));
  }
}

/// The architectures that this build can run, by kind.
void print_architectures(bool json) {
  Json kinds = Json::object();
  std::vector<TableRow> rows;
  for (const ModelKind kind : kModelKinds) {
    const auto names = built_in().of(kind);
    kinds[std::string(name_of(kind))] = names;
    const std::string list = names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
    rows.push_back({std::string(name_of(kind)), wrap_words(list, kArchitecturesWidth)});
  }
  if (json) {
    print_json(success_envelope("list", {{"architectures", std::move(kinds)}}));
    return;
  }
  const std::string text = render_table({"Kind", "config.json's model_type"}, rows);
  print_line(std::string_view(text).substr(0, text.size() - 1));
}

int run_list(const Args& args) {
  if (args.has("--architectures")) {
    print_architectures(args.has("--json"));
    return 0;
  }
  const std::vector<ModelEntry> models = describe_all(list_models(args.word("pattern")));
  if (args.has("--json")) {
    Json objects = Json::array();
    const SelftestVerdicts verdicts;
    for (const auto& entry : models) {
      objects.push_back(model_object(entry));
      if (args.has("--selftest")) objects.back()["selftest"] = verdict_json(verdicts.find(entry.info));
    }
    const size_t count = objects.size();
    print_json(success_envelope("list", {{"models", std::move(objects)}, {"count", count}}));
    return 0;
  }
  const std::string text =
      table(models, {args.has("--all"), args.has("--verbose"), args.has("--health"), args.has("--selftest")});
  print_line(std::string_view(text).substr(0, text.size() - 1));
  print_notes(args, models);
  return 0;
}

}  // namespace

extern const Command kListCommand;
const Command kListCommand = {
    .name = "list",
    .help = "list the models in the cache and in the workspace home",
    .positionals = {{"pattern", PositionalKind::optional, "part of a name, or the path of workspaces"}},
    .options = {{.name = "--all", .help = "include models that are broken or cannot run"},
                {.name = "--health", .help = "add the state of the files and whether the model runs"},
                {.name = "--selftest", .help = "add the result of `mlxk selftest` with this version"},
                {.name = "--architectures", .help = "list the model types that this build can run, by kind"},
                {.name = "--verbose", .help = "full names and more columns"},
                json_option()},
    .run = run_list,
    .environment = model_places(),
};

}  // namespace mlxk
