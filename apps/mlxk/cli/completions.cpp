#include "cli/completions.h"

namespace mlxk {

ShellCompletion completion_of(const Option& option) {
  if (!option.choices.empty()) return ShellCompletion::choices;
  if (option.metavar == "MODEL") return ShellCompletion::model;
  if (option.metavar == "FILE" || option.metavar == "PATH") return ShellCompletion::file;
  if (option.metavar == "DIR") return ShellCompletion::folder;
  return ShellCompletion::none;
}

ShellCompletion completion_of(const Positional& positional) {
  if (!positional.choices.empty()) return ShellCompletion::choices;
  if (positional.name == "model" || positional.name == "pattern") return ShellCompletion::model;
  if (positional.name == "source" || positional.name == "prompt") return ShellCompletion::file;
  if (positional.name == "target" || positional.name == "target_dir" || positional.name == "local_dir") {
    return ShellCompletion::folder;
  }
  return positional.name == "command" ? ShellCompletion::command : ShellCompletion::none;
}

std::vector<const Command*> visible_commands() {
  std::vector<const Command*> commands;
  for (const Command* command : command_table()) {
    if (!command->hidden) commands.push_back(command);
  }
  return commands;
}

std::vector<std::string> names_of(const Command& command) {
  std::vector<std::string> names = {command.name};
  names.insert(names.end(), command.aliases.begin(), command.aliases.end());
  return names;
}

bool has_two_words(const Command& command) { return command.name.find(' ') != std::string::npos; }

std::string word_pairs() {
  std::string pairs;
  for (const Command* command : visible_commands()) {
    if (!has_two_words(*command)) continue;
    const size_t blank = command->name.find(' ');
    pairs += command->name.substr(0, blank) + "/" + command->name.substr(blank + 1) + " ";
  }
  return pairs;
}

std::string case_pattern(const Command& command) {
  std::string pattern;
  for (const std::string& name : names_of(command)) {
    if (!pattern.empty()) pattern += '|';
    for (const char c : name) pattern += c == ' ' ? "\\ " : std::string(1, c);
  }
  return pattern;
}

std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? "’" : std::string(1, c);
  return out;
}

}  // namespace mlxk
