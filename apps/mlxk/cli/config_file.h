#pragma once

#include <string>

#include "commands/command.h"

namespace mlxk {

/// Reads a TOML file of a command's options into `args.file`: keys are the options' names, with dashes or underscores;
/// flags are booleans, repeated options arrays. Throws io, and invalid naming file, line and key for an unknown option
/// or an invalid value.
void read_config_file(const std::string& path, Args& args);

}  // namespace mlxk
