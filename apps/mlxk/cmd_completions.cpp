// `mlxk completions SHELL`: scripts made from the same tables as the parser, so that they never drift.
#include <fmt/format.h>

#include "base/error.h"
#include "help.h"
#include "output.h"

namespace mlxk {

namespace {
constexpr const char* kPrograms[] = {"mlxk", "mlxk2", "mlxk-json"};

std::vector<const Command*> visible() {
  std::vector<const Command*> commands;
  for (const Command* command : command_table()) {
    if (!command->hidden) commands.push_back(command);
  }
  return commands;
}

std::string option_words(const Command& command) {
  std::string words = "-h --help";
  for (const Option& option : command.options) {
    if (option.short_name) words += fmt::format(" -{}", option.short_name);
    words += " " + option.name;
  }
  return words;
}

/// For the inside of '…' in sh, zsh and fish.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? "’" : std::string(1, c);
  return out;
}

std::string bash_script() {
  std::string names;
  std::string cases;
  for (const Command* command : visible()) {
    names += command->name + " ";
    std::string pattern = command->name;
    for (const std::string& alias : command->aliases) pattern += "|" + alias;
    cases += fmt::format("    {}) words=\"{}\" ;;\n", pattern, option_words(*command));
  }
  std::string script = R"(# bash completion for mlxk
_mlxk() {
  local cur="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}" words=""
  if [[ "${COMP_WORDS[0]##*/}" == mlx-run ]]; then command=run; fi
  if [[ $COMP_CWORD -eq 1 && $command != run ]]; then
)";
  script += fmt::format("    COMPREPLY=($(compgen -W \"{}--help --version --json\" -- \"$cur\"))\n", names);
  script += R"(    return
  fi
  case "$command" in
)";
  script += cases;
  script += R"(  esac
  if [[ "$cur" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
)";
  script += fmt::format("complete -o filenames -F _mlxk {} mlx-run\n", fmt::join(kPrograms, " "));
  return script;
}

std::string zsh_script() {
  const auto escaped = [](const std::string& text) {  // inside '…[…]'
    std::string out;
    for (const char c : quoted(text)) {
      if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  };
  std::string script =
      fmt::format("#compdef {} mlx-run\n_mlxk() {{\n  local -a commands\n  commands=(\n", fmt::join(kPrograms, " "));
  for (const Command* command : visible()) {
    script += fmt::format("    '{}:{}'\n", command->name, escaped(command->help));
  }
  script += R"(  )
  local command=$words[2]
  if [[ ${words[1]:t} == mlx-run ]]; then
    command=run
  elif (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case $command in
)";
  for (const Command* command : visible()) {
    std::string pattern = command->name;
    for (const std::string& alias : command->aliases) pattern += "|" + alias;
    script += fmt::format("    {}) _arguments -S '-h[help]' '--help[help]'", pattern);
    for (const Option& option : command->options) {
      const bool list = option.kind == OptionKind::repeated || option.kind == OptionKind::many;
      const std::string value = option.kind == OptionKind::flag       ? ""
                                : option.kind == OptionKind::optional ? fmt::format("::{}:", option.metavar)
                                                                      : fmt::format(":{}:_files", option.metavar);
      script += fmt::format(" '{}{}[{}]{}'", list ? "*" : "", option.name, escaped(option.help), value);
      if (option.short_name) script += fmt::format(" '-{}[{}]{}'", option.short_name, escaped(option.help), value);
    }
    script += " '*: :_files' ;;\n";
  }
  return script + "  esac\n}\n_mlxk \"$@\"\n";
}

std::string fish_script() {
  std::string script = "# fish completion for mlxk\n";
  for (const char* program : kPrograms) {
    for (const Command* command : visible()) {
      script += fmt::format("complete -c {} -n __fish_use_subcommand -f -a {} -d '{}'\n", program, command->name,
                            quoted(command->help));
    }
  }
  for (const Command* command : visible()) {
    std::string names = command->name;
    for (const std::string& alias : command->aliases) names += " " + alias;
    for (const Option& option : command->options) {
      std::string row = fmt::format(" -l {} -d '{}'", option.name.substr(2), quoted(option.help));
      if (option.short_name) row += fmt::format(" -s {}", option.short_name);
      if (option.kind != OptionKind::flag && option.kind != OptionKind::optional) row += " -r";
      for (const char* program : kPrograms) {
        script += fmt::format("complete -c {} -n '__fish_seen_subcommand_from {}'{}\n", program, names, row);
      }
      if (command->name == "run") script += fmt::format("complete -c mlx-run{}\n", row);
    }
  }
  return script;
}

int run(const Args& args) {
  const std::string script = completion_script(args.word("shell"));
  print_line(std::string_view(script).substr(0, script.size() - 1));
  return 0;
}
}  // namespace

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return bash_script();
  if (shell == "zsh") return zsh_script();
  if (shell == "fish") return fish_script();
  throw Error(ErrorKind::usage, fmt::format("argument shell: '{}' is not one of bash, zsh, fish", shell));
}

extern const Command kCompletionsCommand;
const Command kCompletionsCommand = {
    .name = "completions",
    .help = "print a completion script",
    .positionals = {{"shell", PositionalKind::required, "bash, zsh or fish"}},
    .run = run,
    .hidden = true,
};

}  // namespace mlxk
