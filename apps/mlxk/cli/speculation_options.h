#pragma once

#include <string>
#include <vector>

#include "commands/command.h"
#include "worker/backend.h"

namespace mlxk {

/// The rows --prompt-lookup, --draft-model and --draft-tokens of commands that complete texts.
std::vector<Option> speculation_options();

/// Copies their values into `text`; returns the draft model's name or folder, empty for none. Throws usage.
std::string read_speculation(const Args& args, LoadOptions& text);

}  // namespace mlxk
