#pragma once

#include <string>

#include "commands/command.h"

namespace mlxk {

/// The rows --record and --record-redact of commands that answer.
Option record_option();
Option record_redact_option();

/// The folder that answers are recorded in; empty: they are not. Throws usage where prompts are to be left out of
/// nothing.
std::string read_record_folder(const Args& args);

}  // namespace mlxk
