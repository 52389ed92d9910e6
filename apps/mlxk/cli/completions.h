#pragma once

#include <string>
#include <vector>

#include "commands/command.h"

namespace mlxk {

/// The completions that a shell offers for the value of an option or for a positional.
enum class ShellCompletion { none, choices, model, file, folder, command };

ShellCompletion completion_of(const Option& option);
ShellCompletion completion_of(const Positional& positional);

/// The commands that scripts offer.
std::vector<const Command*> visible_commands();
/// The name of a command and its aliases.
std::vector<std::string> names_of(const Command& command);
/// `text` for the inside of '…' in sh, zsh and fish.
std::string quoted(const std::string& text);

inline constexpr const char* kPrograms[] = {"mlxk", "mlxk2", "mlxk-json"};

std::string bash_completions();
std::string zsh_completions();
std::string fish_completions();

}  // namespace mlxk
