#pragma once

#include <string>

#include "commands/command.h"

namespace mlxk {

/// `usage: mlxk run [options] model [prompt ...]` and a newline; of the program itself if `command` is null.
std::string usage_text(const Command* command);
/// The text of --help.
std::string help_text(const Command* command);
/// `-f, --force` or `--prompt P`.
std::string option_signature(const Option& option);
/// The option's help with its default and variable.
std::string option_help(const Option& option);

/// The man page mlxk(1) in roff.
std::string man_page();
/// The completion script for `shell` (bash, zsh, fish); throws usage for another.
std::string completion_script(const std::string& shell);

}  // namespace mlxk
