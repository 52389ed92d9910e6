#pragma once

#include <string>

#include "commands/command.h"

namespace mlxk {

/// The options --record and --record-redact of commands that generate answers.
Option record_option();
Option record_redact_option();

/// The folder for recorded answers; empty: answers are not recorded. Throws usage for an empty --record, and for
/// --record-redact without --record.
std::string read_record_folder(const Args& args);

}  // namespace mlxk
