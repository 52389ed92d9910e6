#pragma once

#include <string>
#include <vector>

#include "commands/command.h"

namespace mlxk {

/// A parsed command line. At most one of command, help and version is set.
struct CommandLine {
  const Command* command = nullptr;  // null: none given
  Args args;
  bool help = false;
  bool version = false;
  bool json = false;
};

/// Parses the words after argv[0] like argparse: options and positionals intermixed, `--opt=value`, unambiguous
/// prefixes of long options, `--` ends the options. Throws usage; the message names the argument.
CommandLine parse_command_line(const std::vector<std::string>& words);

/// The command with that name or alias; throws usage, with a suggestion, if there is none.
const Command& known_command(const std::string& word);

}  // namespace mlxk
