#pragma once

#include <string>

#include "report/page.h"
#include "report/summary.h"

namespace mlxk {

/// The contents of a report.
struct ReportInputs {
  const ReportSummary& current;
  const ReportSummary* old = nullptr;        // to compare with; null: no comparison
  const MemoryLog* memory = nullptr;         // null: none
  std::string memory_path, old_memory_path;  // empty: none
  const MemoryLog* old_memory = nullptr;
  std::string output;  // the file written; empty: stdout
};

/// The relative change of a value in percent, with ⚠️ if it is more than 5 % slower and ✅ if more than 1 % faster. A
/// larger time is slower, a larger speed is faster. Empty if either value is unknown.
std::string change_text(const std::optional<double>& now, const std::optional<double>& before, bool is_speed);

/// Writes the sections of MLX Knife's benchmark report, version 1.1.
void write_report(Page& page, const ReportInputs& inputs);

}  // namespace mlxk
