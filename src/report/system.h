#pragma once

#include "report/record.h"

namespace mlxk {

struct ModelInfo;

/// The machine that this program runs on; `mlx_version` is that of the engine, empty where none was opened.
ReportSystem this_system(const std::string& mlx_version);

/// How fit the machine is for a measurement, now: free memory, swap, and dead processes of this program that nobody
/// has waited for. Flags: less than 5 GiB free, more than 0.1 GiB in swap, any such process.
ReportHealth system_health();

/// The fields of a probed model; quantization is "4bit", "8bit", … or empty.
ReportModel report_model(const ModelInfo& info);

}  // namespace mlxk
