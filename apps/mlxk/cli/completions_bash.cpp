#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/completions.h"

namespace mlxk {

namespace {

std::string option_words(const Command& command) {
  std::string words = "-h --help";
  for (const Option& option : command.options) {
    if (option.short_name) words += fmt::format(" -{}", option.short_name);
    words += " " + option.name;
  }
  return words;
}

/// The argument of `offer` below: a kind, or the choices themselves.
std::string offer(ShellCompletion completion, const std::vector<std::string>& choices) {
  switch (completion) {
    case ShellCompletion::none: return "none";
    case ShellCompletion::choices: return fmt::format("{}", fmt::join(choices, " "));
    case ShellCompletion::model: return ":model";
    case ShellCompletion::file: return ":file";
    case ShellCompletion::folder: return ":folder";
    case ShellCompletion::command: return ":command";
  }
  return "none";
}

/// The rows of `case` for the options of a command that have a value.
std::string value_cases(const Command& command) {
  std::string cases;
  for (const Option& option : command.options) {
    if (option.kind == OptionKind::flag) continue;
    cases += fmt::format("        {}) offer='{}' ;;\n", option.name, offer(completion_of(option), option.choices));
  }
  return cases;
}

/// The rows of `case` for the positionals, by index; the last may be repeated.
std::string positional_cases(const Command& command) {
  std::string cases;
  int number = 0;
  for (const Positional& positional : command.positionals) {
    cases += fmt::format("        {}) offer='{}' ;;\n",
                         positional.kind == PositionalKind::rest ? "*" : std::to_string(number),
                         offer(completion_of(positional), positional.choices));
    ++number;
  }
  return cases;
}

}  // namespace

std::string bash_completions() {
  std::string names, words, values, positionals, takers;
  for (const Command* command : visible_commands()) {
    if (!has_two_words(*command)) names += command->name + " ";
    const std::string pattern = case_pattern(*command);
    words += fmt::format("    {}) words=\"{}\" ;;\n", pattern, option_words(*command));
    if (const auto cases = value_cases(*command); !cases.empty()) {
      values += fmt::format("    {})\n      case \"$1\" in\n{}        *) return 1 ;;\n      esac ;;\n", pattern, cases);
    }
    if (const auto cases = positional_cases(*command); !cases.empty()) {
      positionals += fmt::format("    {})\n      case \"$1\" in\n{}      esac ;;\n", pattern, cases);
    }
  }
  std::string script = R"sh(# bash completion for mlxk
# _mlxk_value OPTION: sets what is offered for its value; fails when it has none.
_mlxk_value() {
  case "$command" in
)sh";
  script += values;
  script += R"sh(    *) return 1 ;;
  esac
}
# _mlxk_positional NUMBER: sets what is offered for that one.
_mlxk_positional() {
  offer=none
  case "$command" in
)sh";
  script += positionals;
  script += R"sh(  esac
}
_mlxk() {
  local cur="${COMP_WORDS[COMP_CWORD]}" command="" words="" offer="" i=1 number=0
)sh";
  script += fmt::format("  local commands=\"{}\" pairs=\" {}\"\n", names, word_pairs());
  script += R"sh(  COMPREPLY=()
  if [[ "${COMP_WORDS[0]##*/}" == mlx-run ]]; then
    command=run
  else
    while [[ $i -lt $COMP_CWORD && "${COMP_WORDS[i]}" == -* ]]; do i=$((i + 1)); done
    if [[ $i -ge $COMP_CWORD ]]; then
      COMPREPLY=($(compgen -W "$commands --help --version --json" -- "$cur"))
      return
    fi
    command="${COMP_WORDS[i]}"
    i=$((i + 1))
    if [[ $i -lt $COMP_CWORD && "$pairs" == *" $command/${COMP_WORDS[i]} "* ]]; then
      command="$command ${COMP_WORDS[i]}"
      i=$((i + 1))
    fi
  fi
  for (( ; i < COMP_CWORD; i++ )); do
    if _mlxk_value "${COMP_WORDS[i]}"; then
      i=$((i + 1))
    elif [[ "${COMP_WORDS[i]}" != -* ]]; then
      number=$((number + 1))
    fi
  done
  if [[ $i -eq $COMP_CWORD ]]; then
    if [[ "$cur" == -* ]]; then
      case "$command" in
)sh";
  script += words;
  script += R"sh(      esac
      COMPREPLY=($(compgen -W "$words" -- "$cur"))
      return
    fi
    _mlxk_positional $number
  fi
  case "$offer" in
    none) return ;;
    :command) COMPREPLY=($(compgen -W "$commands" -- "$cur")); return ;;
    :*) ;;
    *) COMPREPLY=($(compgen -W "$offer" -- "$cur")); return ;;
  esac
  compopt -o filenames 2>/dev/null
  local IFS=$'\n'
  case "$offer" in
    :model) COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]/%mlx-run/mlxk}" __complete models 2>/dev/null)" -- "$cur"
      compgen -f -- "$cur")) ;;
    :file) COMPREPLY=($(compgen -f -- "$cur")) ;;
    :folder) COMPREPLY=($(compgen -d -- "$cur")) ;;
  esac
}
)sh";
  script += fmt::format("complete -F _mlxk {} mlx-run\n", fmt::join(kPrograms, " "));
  return script;
}

}  // namespace mlxk
