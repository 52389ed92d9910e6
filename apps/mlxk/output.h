#pragma once

#include <string_view>

#include "base/error.h"
#include "command.h"
#include "json/json.h"

namespace mlxk {

/// One JSON document on stdout: indent 2, ASCII only, newline.
void print_json(const Json& document);
/// `text` and a newline on stdout.
void print_line(std::string_view text);

/// Prints `error` as --json or a human reads it and returns its exit code. `command` is null while none is known.
int report_error(const Error& error, const Command* command, bool json);

}  // namespace mlxk
