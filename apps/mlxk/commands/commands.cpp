#include <algorithm>

#include "commands/command.h"

namespace mlxk {

#define MLXK_COMMAND(name) extern const Command name;
#include "commands/commands.inc"
#undef MLXK_COMMAND

std::string program_name = "mlxk";

const std::vector<const Command*>& command_table() {
  static const std::vector<const Command*> table = {
#define MLXK_COMMAND(name) &name,
#include "commands/commands.inc"
#undef MLXK_COMMAND
  };
  return table;
}

const Command* find_command(std::string_view name) {
  for (const Command* command : command_table()) {
    const auto& aliases = command->aliases;
    if (command->name == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end()) return command;
  }
  return nullptr;
}

const Command* command_at(const std::vector<std::string>& words, size_t at) {
  const Command* two = at + 1 < words.size() ? find_command(words[at] + " " + words[at + 1]) : nullptr;
  return two ? two : at < words.size() ? find_command(words[at]) : nullptr;
}

Option json_option() { return {.name = "--json", .help = "print one JSON document on stdout"}; }

}  // namespace mlxk
