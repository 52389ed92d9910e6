#pragma once

#include "report/record.h"

namespace mlxk {

struct ModelInfo;

/// The machine that this program runs on. `mlx_version` is that of the engine; empty if no engine was opened.
ReportSystem this_system(const std::string& mlx_version);

/// The machine's current fitness for a measurement: free memory, swap and zombie processes of this program. Flags: less
/// than 5 GiB free, more than 0.1 GiB in swap, any zombie.
ReportHealth system_health();

/// The report's fields for a probed model; quantization is "4bit", "8bit", … or empty.
ReportModel report_model(const ModelInfo& info);

}  // namespace mlxk
