#pragma once

#include <vector>

#include "report/record.h"
#include "selftest/selftest.h"
#include "worker/facts.h"

namespace mlxk {

/// A record for each check of `result`, in their order; `device` is empty if the engine was not needed.
std::vector<ReportRecord> selftest_records(const ModelInfo& info, const SelftestResult& result,
                                           const DeviceFacts& device, bool quick);

}  // namespace mlxk
