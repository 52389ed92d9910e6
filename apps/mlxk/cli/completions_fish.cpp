#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/completions.h"

namespace mlxk {

namespace {

/// The offered completions as flags of `complete`; `value`: for an option's value, which is required.
std::string offered(ShellCompletion completion, const std::vector<std::string>& choices, bool value) {
  const char* no_files = value ? "-x" : "-f";
  switch (completion) {
    case ShellCompletion::none: return value ? " -x" : "";
    case ShellCompletion::choices: return fmt::format(" {} -a '{}'", no_files, fmt::join(choices, " "));
    case ShellCompletion::model: return value ? " -r -F -a '(__mlxk_models)'" : " -F -a '(__mlxk_models)'";
    case ShellCompletion::file: return value ? " -r -F" : " -F";
    case ShellCompletion::folder: return fmt::format(" {} -a '(__fish_complete_directories)'", no_files);
    case ShellCompletion::command: return fmt::format(" {} -a '(__mlxk_commands)'", no_files);
  }
  return "";
}

}  // namespace

std::string fish_completions() {
  std::string script = R"sh(# fish completion for mlxk
function __mlxk_models
  set -l words (commandline -opc)
  eval (string replace -r 'mlx-run$' mlxk -- $words[1]) __complete models 2>/dev/null
end
)sh";
  std::string commands, rows;
  for (const Command* command : visible_commands()) {
    const size_t blank = command->name.find(' ');
    if (blank == std::string::npos) commands += fmt::format("  echo {}\\t'{}'\n", command->name, quoted(command->help));
    const std::string seen =
        blank == std::string::npos
            ? fmt::format("-n '__fish_seen_subcommand_from {}'", fmt::join(names_of(*command), " "))
            : fmt::format("-n '__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}'",
                          command->name.substr(0, blank), command->name.substr(blank + 1));
    const auto add = [&](const std::string& row) {
      for (const char* program : kPrograms) rows += fmt::format("complete -c {} {}{}\n", program, seen, row);
      if (command->name == "run") rows += fmt::format("complete -c mlx-run{}\n", row);
    };
    for (const Option& option : command->options) {
      std::string row = fmt::format(" -l {} -d '{}'", option.name.substr(2), quoted(option.help));
      if (option.short_name) row += fmt::format(" -s {}", option.short_name);
      const bool value = option.kind != OptionKind::flag && option.kind != OptionKind::optional;
      if (value) row += offered(completion_of(option), option.choices, true);
      add(row);
    }
    for (const Positional& positional : command->positionals) {
      const std::string row = offered(completion_of(positional), positional.choices, false);
      if (!row.empty()) add(row);
    }
  }
  script += "function __mlxk_commands\n" + commands + "end\n";
  for (const char* program : kPrograms) {
    script += fmt::format("complete -c {} -f\n", program);
    script += fmt::format("complete -c {} -n __fish_use_subcommand -f -a '(__mlxk_commands)'\n", program);
    script += fmt::format("complete -c {} -n __fish_use_subcommand -l version -d 'print the version'\n", program);
  }
  return script + rows;
}

}  // namespace mlxk
