#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monitor/memory_log.h"
#include "plot/timeline.h"

namespace mlxk {

/// The fields of a test of BENCH.jsonl that a chart uses.
struct TestSpan {
  std::string test, outcome, model;
  double start_ts = 0, end_ts = 0;  // seconds since 1970
};

struct TestLog {
  std::vector<TestSpan> tests;
  double ram_total_gb = kUnknown;     // the largest in any record
  std::vector<std::string> warnings;  // each with file and line
};

/// Reads the tests of BENCH.jsonl, of any schema from 0.1.0 to 0.2.2. Start and end are test_start_ts and test_end_ts,
/// else computed from timestamp and duration. Broken lines are skipped with a warning. Throws io if the file cannot be
/// read.
TestLog read_test_log(const std::filesystem::path& path);

/// Draws memory, CPU and GPUs of `log` as rows, memory pressure as backgrounds and `tests` as rectangles. Free memory
/// is green from half of the machine's memory, orange from a quarter. Rows that are always zero are omitted.
Timeline memory_timeline(const MemoryLog& log, const TestLog& tests, const std::string& title);

}  // namespace mlxk
