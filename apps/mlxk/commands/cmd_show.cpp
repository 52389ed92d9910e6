// `mlxk show MODEL`: shows what is known about one model.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/command.h"
#include "json/api.h"
#include "selftest/verdicts.h"
#include "serving/speech_abilities.h"
#include "serving/tool_support.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

/// Everything that `show` prints, in both forms.
struct Shown {
  ModelEntry entry;
  Json config, data;
  std::optional<SelftestVerdict> verdict;
};

std::string plain(const Json& value) {
  if (value.is_string()) return printable(value.get<std::string>());
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string speech_text(const SpeechAbilities& abilities) {
  const auto& languages = abilities.languages;
  return fmt::format("{}, {}, {}, {}",
                     languages.empty()       ? "languages unknown"
                     : languages.size() > 10 ? fmt::format("{} languages", languages.size())
                                             : printable(fmt::format("{}", fmt::join(languages, " "))),
                     abilities.word_times      ? "segment and word times"
                     : abilities.segment_times ? "segment times"
                                               : "no times",
                     abilities.translation ? "translation into English" : "no translation",
                     abilities.diarization ? "speakers" : "no speakers");
}

std::string quantization_text(const Json& quantization) {
  if (!quantization.is_object() || !quantization.contains("bits")) return "-";
  std::string text = fmt::format("{}-bit", plain(quantization["bits"]));
  if (quantization.contains("group_size")) text += fmt::format(" (group_size={})", plain(quantization["group_size"]));
  return text;
}

void print_workspace(const ModelEntry& entry) {
  const Json& sentinel = *entry.sentinel;
  const auto text = [&](const char* key) { return or_dash(sentinel.contains(key) ? plain(sentinel[key]) : ""); };
  print_line("\nWorkspace:");
  print_line(fmt::format("  Source: {}", text("source_repo")));
  print_line(fmt::format("  Operation: {}", text("operation")));
  print_line(fmt::format("  Created: {}", text("created_at")));
  print_line(fmt::format("  Clean: {}", clean_text(entry)));
  if (const std::string hash = entry.content_hash(); !hash.empty()) {
    print_line(fmt::format("  Content Hash: {}...", printable(hash.substr(0, 23))));
    print_line(fmt::format("  Hash Modified: {}", text("hash_modified")));
  }
}

void print_text(const Shown& shown) {
  const ModelInfo& info = shown.entry.info;
  const std::string hash = short_hash(shown.entry);
  const bool tagged = info.ref.cached && hash != "-";
  const std::string health =
      info.healthy && !is_usable(info) ? "healthy (files OK, runtime incompatible)" : health_text(info);
  print_line(fmt::format("Model: {}{}", printable(info.ref.name), tagged ? "@" + hash : ""));
  print_line(fmt::format("Framework: {}", info.framework));
  print_line(fmt::format("Type: {}", type_text(info)));
  print_line(fmt::format("Capabilities: {}", or_dash(fmt::format("{}", fmt::join(info.capabilities, ", ")))));
  print_line(fmt::format("Tools: {}", plain(shown.data["tools"])));
  if (const auto abilities = speech_abilities(info)) print_line(fmt::format("Speech: {}", speech_text(*abilities)));
  print_line(fmt::format("Quantization: {}", quantization_text(shown.data["model"]["quantization"])));
  print_line(fmt::format("Size: {}", human_size(info.size_bytes)));
  if (info.weight_bytes > 0) print_line(fmt::format("Weights: {}", human_size(info.weight_bytes)));
  print_line(fmt::format("Modified: {}", time_ago(shown.entry.modified, std::time(nullptr))));
  print_line(fmt::format("Health: {}", health));
  if (!info.reason.empty()) print_line(fmt::format("Reason: {}", printable(info.reason)));
  if (const auto& verdict = shown.verdict) {
    print_line(fmt::format("Selftest: {} ({} passed, {} skipped, {}{}, {})", printable(verdict_text(verdict)),
                           verdict->passed, verdict->skipped, printable(verdict->device),
                           verdict->quick ? ", quick" : "", printable(verdict->tested_at)));
  }

  if (shown.data.contains("files")) {
    print_line("\nFiles:");
    for (const Json& file : shown.data["files"]) {
      print_line(fmt::format("  - {} ({}, {})", plain(file["name"]), plain(file["type"]), plain(file["size"])));
    }
  } else if (shown.data.contains("config")) {
    print_line("\nConfig:");
    print_line(shown.config.dump(2, ' ', true, Json::error_handler_t::replace));
  } else {
    print_line("\nMetadata:");
    for (const auto& [key, value] : shown.data["metadata"].items()) {
      if (!value.is_null()) print_line(fmt::format("  {}: {}", key, plain(value)));
    }
  }
  if (shown.entry.sentinel) print_workspace(shown.entry);
}

int run_show(const Args& args) {
  const ModelRef ref = resolve_model(runnable_argument(args.word("model")));
  if (args.has("--recalc-hash")) recalculate_content_hash(ref.path);
  Shown shown{describe_model(ref), read_config_of(ref), Json::object(), {}};
  shown.verdict = SelftestVerdicts().find(shown.entry.info);
  const Json metadata = shown.config.is_null() ? Json(nullptr) : config_metadata(shown.entry.info, shown.config);
  const bool files = args.has("--files"), config = args.has("--config") && !files;
  shown.data["model"] = show_object(shown.entry, shown.config);
  shown.data["tools"] = tool_support_name(tool_support_of(shown.entry.info));
  shown.data["speech"] = speech_json(shown.entry.info);
  shown.data["selftest"] = verdict_json(shown.verdict);
  shown.data["runtime"] = runtime_data(shown.entry.info);
  shown.data["workspace_metadata"] = shown.entry.sentinel.value_or(Json(nullptr));
  shown.data["metadata"] = files || config ? Json(nullptr) : metadata;
  if (files) shown.data["files"] = file_list(ref);
  if (config) shown.data["config"] = shown.config;
  if (args.has("--recalc-hash")) shown.data["hash_updated"] = true;
  if (args.has("--json")) {
    print_json(success_envelope("show", shown.data));
  } else {
    print_text(shown);
  }
  return 0;
}

}  // namespace

extern const Command kShowCommand;
const Command kShowCommand = {
    .name = "show",
    .help = "show what is known about a model",
    .positionals = {{"model", PositionalKind::required, "a model or a .gguf file"}},
    .options = {{.name = "--files", .help = "list its files"},
                {.name = "--config", .help = "print its configuration"},
                {.name = "--recalc-hash", .help = "recompute and store a managed workspace's hash"},
                json_option()},
    .run = run_show,
    .environment = model_places(),
};

}  // namespace mlxk
