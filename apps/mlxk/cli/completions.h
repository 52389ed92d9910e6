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
/// Whether the name has two words; the second is offered only after the first.
bool has_two_words(const Command& command);
/// "bench/serve ", … for all commands of two words; scripts look up pairs of words in it.
std::string word_pairs();
/// The names as a pattern of `case` in bash and zsh: `rm|delete`, `bench\ serve`.
std::string case_pattern(const Command& command);
/// `text` for the inside of '…' in sh, zsh and fish.
std::string quoted(const std::string& text);

inline constexpr const char* kPrograms[] = {"mlxk", "mlxk2", "mlxk-json"};

std::string bash_completions();
std::string zsh_completions();
std::string fish_completions();

}  // namespace mlxk
