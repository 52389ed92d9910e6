#pragma once

#include <cstdint>
#include <vector>

#include "commands/command.h"

namespace mlxk {

/// The options --report and --runs of the benchmarks.
Option report_option();
Option runs_option();

/// Parses an option such as "1,4,16" into numbers from 1 to `most`; throws usage.
std::vector<int64_t> read_numbers(const Args& args, const char* option, int64_t most);

/// Parses an option such as "0.5,2" into numbers above 0 and up to 100,000; throws usage.
std::vector<double> read_rates(const Args& args, const char* option);

}  // namespace mlxk
