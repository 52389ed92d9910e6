#pragma once

#include <cstdint>
#include <vector>

#include "commands/command.h"

namespace mlxk {

/// The rows --report and --runs of commands that measure.
Option report_option();
Option runs_option();

/// "1,4,16" as numbers of [1, most]; throws usage.
std::vector<int64_t> read_numbers(const Args& args, const char* option, int64_t most);

/// "0.5,2" as numbers above 0, at most 100,000; throws usage.
std::vector<double> read_rates(const Args& args, const char* option);

}  // namespace mlxk
