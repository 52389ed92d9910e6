#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>

namespace mlxk {

namespace {
constexpr size_t kColumn = 28;
constexpr size_t kWidth = 100;

/// `left` and, from kColumn on, `text` wrapped at words.
std::string entry(const std::string& left, const std::string& text) {
  std::string out = "  " + left;
  size_t column = out.size();
  if (column + 2 > kColumn) {
    out += '\n';
    column = 0;
  }
  out.append(kColumn - column, ' ');
  column = kColumn;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(' ', start), text.size());
    if (column > kColumn && column + 1 + (end - start) > kWidth) {
      out += '\n' + std::string(kColumn, ' ');
      column = kColumn;
    } else if (column > kColumn) {
      out += ' ';
      ++column;
    }
    out.append(text, start, end - start);
    column += end - start;
    start = end + 1;
  }
  return out + '\n';
}

std::string positional_usage(const Positional& positional) {
  switch (positional.kind) {
    case PositionalKind::required: return positional.name;
    case PositionalKind::optional: return fmt::format("[{}]", positional.name);
    case PositionalKind::rest: return fmt::format("[{} ...]", positional.name);
  }
  return {};
}
}  // namespace

std::string option_signature(const Option& option) {
  std::string text = option.short_name ? fmt::format("-{}, {}", option.short_name, option.name) : option.name;
  switch (option.kind) {
    case OptionKind::flag: break;
    case OptionKind::optional: text += fmt::format(" [{}]", option.metavar); break;
    case OptionKind::many: text += fmt::format(" {} ...", option.metavar); break;
    default: text += " " + option.metavar;
  }
  return text;
}

std::string option_help(const Option& option) {
  std::string text = option.help;
  if (!option.default_value.empty()) text += fmt::format(" (default {})", option.default_value);
  if (!option.env.empty()) text += fmt::format(" [{}]", option.env);
  return text;
}

std::string usage_text(const Command* command) {
  if (!command) return "usage: mlxk [-h] [--version] [--json] <command> ...\n";
  std::string text = fmt::format("usage: mlxk {} [options]", command->name);
  for (const Positional& positional : command->positionals) text += " " + positional_usage(positional);
  return text + '\n';
}

std::string help_text(const Command* command) {
  std::string text = usage_text(command) + '\n';
  if (!command) {
    text += "MLX Knife: find, check, convert and run MLX models.\n\ncommands:\n";
    for (const Command* each : command_table()) {
      if (!each->hidden) text += entry(each->name, each->help);
    }
    text += "\noptions:\n" + entry("-h, --help", "show this help; `mlxk <command> --help` shows a command's") +
            entry("--version", "print the version") + entry("--json", "print errors and the version as JSON");
    return text;
  }
  text += command->help + "\n";
  if (!command->aliases.empty()) text += fmt::format("Also: {}\n", fmt::join(command->aliases, ", "));
  if (!command->positionals.empty()) text += "\narguments:\n";
  for (const Positional& positional : command->positionals) text += entry(positional.name, positional.help);
  text += "\noptions:\n" + entry("-h, --help", "show this help");
  for (const Option& option : command->options) text += entry(option_signature(option), option_help(option));
  if (!command->environment.empty()) text += "\nenvironment:\n";
  for (const EnvVariable& variable : command->environment) text += entry(variable.name, variable.help);
  return text;
}

}  // namespace mlxk
