#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/completions.h"

namespace mlxk {

namespace {

/// `text` for the inside of '…[…]'.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : quoted(text)) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

/// The action of _arguments: the completions to offer.
std::string action(ShellCompletion completion, const std::vector<std::string>& choices) {
  switch (completion) {
    case ShellCompletion::none: return " ";
    case ShellCompletion::choices: return fmt::format("({})", fmt::join(choices, " "));
    case ShellCompletion::model: return "_mlxk_models";
    case ShellCompletion::file: return "_files";
    case ShellCompletion::folder: return "_files -/";
    case ShellCompletion::command: return "_mlxk_commands";
  }
  return " ";
}

std::string option_specs(const Option& option) {
  const bool list = option.kind == OptionKind::repeated || option.kind == OptionKind::many;
  const std::string offered = action(completion_of(option), option.choices);
  const std::string value = option.kind == OptionKind::flag       ? ""
                            : option.kind == OptionKind::optional ? fmt::format("::{}:{}", option.metavar, offered)
                                                                  : fmt::format(":{}:{}", option.metavar, offered);
  std::string specs = fmt::format(" '{}{}[{}]{}'", list ? "*" : "", option.name, escaped(option.help), value);
  if (option.short_name) specs += fmt::format(" '-{}[{}]{}'", option.short_name, escaped(option.help), value);
  return specs;
}

}  // namespace

std::string zsh_completions() {
  std::string commands, cases;
  for (const Command* command : visible_commands()) {
    if (!has_two_words(*command)) commands += fmt::format("    '{}:{}'\n", command->name, escaped(command->help));
    cases += fmt::format("    {}) _arguments -S '-h[help]' '--help[help]'", case_pattern(*command));
    for (const Option& option : command->options) cases += option_specs(option);
    for (const Positional& positional : command->positionals) {
      cases += fmt::format(" '{}:{}:{}'",
                           positional.kind == PositionalKind::rest       ? "*"
                           : positional.kind == PositionalKind::optional ? ":"
                                                                         : "",
                           positional.name, action(completion_of(positional), positional.choices));
    }
    cases += " ;;\n";
  }
  std::string script = fmt::format("#compdef {} mlx-run\n", fmt::join(kPrograms, " "));
  script += R"sh(_mlxk_models() {
  local -a models
  models=(${(f)"$(${program/%mlx-run/mlxk} __complete models 2>/dev/null)"})
  compadd -- $models
  _files
}
_mlxk_commands() {
  local -a commands
  commands=(
)sh";
  script += commands;
  script += R"sh(  )
  _describe command commands
}
_mlxk() {
)sh";
  script += fmt::format("  local program=$words[1] command pairs=' {}'\n", word_pairs());
  script += R"sh(  if [[ ${program:t} == mlx-run ]]; then
    command=run
  else
    while (( CURRENT > 2 )) && [[ $words[2] == -* ]]; do
      shift words
      (( CURRENT-- ))
    done
    if (( CURRENT == 2 )); then
      _mlxk_commands
      compadd -- --help --version --json
      return
    fi
    command=$words[2]
    shift words
    (( CURRENT-- ))
    if (( CURRENT > 2 )) && [[ $pairs == *" $command/$words[2] "* ]]; then
      command="$command $words[2]"
      shift words
      (( CURRENT-- ))
    fi
  fi
  case $command in
)sh";
  script += cases;
  return script + "  esac\n}\n_mlxk \"$@\"\n";
}

}  // namespace mlxk
