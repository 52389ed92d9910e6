// `mlxk completions SHELL`: scripts made from the same tables as the parser, so that they never drift.
#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "cli/completions.h"
#include "cli/help.h"
#include "hub/resolve.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

int run_completions(const Args& args) {
  const std::string script = completion_script(args.word("shell"));
  print_line(std::string_view(script).substr(0, script.size() - 1));
  return 0;
}

/// Every word that identifies exactly one model: its name, and the part after the slash if that is enough.
int run_complete(const Args& args) {
  if (args.word("what") != "models") throw Error(ErrorKind::usage, "argument what: only models");
  const std::vector<ModelRef> models = list_models();
  std::map<std::string, int> short_names;
  const auto short_name = [](const ModelRef& ref) { return ref.name.substr(ref.name.rfind('/') + 1); };
  for (const auto& ref : models) ++short_names[short_name(ref)];
  for (const auto& ref : models) {
    if (ref.cached) print_line(ref.name);
    if (short_names[short_name(ref)] == 1) print_line(short_name(ref));
  }
  return 0;
}

}  // namespace

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return bash_completions();
  if (shell == "zsh") return zsh_completions();
  if (shell == "fish") return fish_completions();
  throw Error(ErrorKind::usage, fmt::format("argument shell: '{}' is not one of bash, zsh, fish", shell));
}

extern const Command kCompletionsCommand;
const Command kCompletionsCommand = {
    .name = "completions",
    .help = "print a completion script",
    .positionals = {{"shell", PositionalKind::required, "bash, zsh or fish", {"bash", "zsh", "fish"}}},
    .run = run_completions,
    .hidden = true,
};

extern const Command kCompleteCommand;
const Command kCompleteCommand = {
    .name = "__complete",
    .help = "print what a completion script offers",
    .positionals = {{"what", PositionalKind::required, "models"}},
    .run = run_complete,
    .hidden = true,
};

}  // namespace mlxk
