#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monitor/memory_log.h"
#include "plot/timeline.h"

namespace mlxk {

/// A test of BENCH.jsonl, as far as a chart needs it.
struct TestSpan {
  std::string test, outcome, model;
  double start_ts = 0, end_ts = 0;  // seconds since 1970
};

struct TestLog {
  std::vector<TestSpan> tests;
  double ram_total_gb = kUnknown;     // that a record names
  std::vector<std::string> warnings;  // each names file and line
};

/// Reads the tests of BENCH.jsonl, of any schema from 0.1.0 to 0.2.2: start and end by test_start_ts and test_end_ts,
/// else by timestamp and duration. Broken lines are passed over with a warning. Throws io when it cannot be read.
TestLog read_test_log(const std::filesystem::path& path);

/// Memory, processors and GPUs of `log` as rows, pressure as backgrounds, `tests` as rectangles. Free memory is green
/// from a half of the machine's, orange from a quarter. Rows that are zero throughout are left out.
Timeline memory_timeline(const MemoryLog& log, const TestLog& tests, const std::string& title);

}  // namespace mlxk
