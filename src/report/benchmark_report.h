#pragma once

#include <string>

#include "report/page.h"
#include "report/summary.h"

namespace mlxk {

/// What a report shows.
struct ReportInputs {
  const ReportSummary& current;
  const ReportSummary* old = nullptr;        // compared with; null: nothing
  const MemorySamples* memory = nullptr;     // null: none
  std::string memory_path, old_memory_path;  // empty: none
  const MemorySamples* old_memory = nullptr;
  std::string output;  // file that is written; empty: stdout
};

/// How much slower (above 0) or faster a value is than before, as a part of the old one, with ⚠️ above 5 % slower and
/// ✅ above 1 % faster; empty when either is unknown. Of a time more is slower, of a speed less.
std::string change_text(const std::optional<double>& now, const std::optional<double>& before, bool is_speed);

/// Writes the sections of MLX Knife's benchmark report, version 1.1.
void write_report(Page& page, const ReportInputs& inputs);

}  // namespace mlxk
