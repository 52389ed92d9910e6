#pragma once

#include "kernels/device.h"

namespace mlxk {

/// The recurrences of LayerOps on float32 arrays, one operation each; they throw invalid_argument for shapes that do
/// not match.
Scanned cpu_selective_scan(const SelectiveScan& scan);
Scanned cpu_delta_rule(const DeltaRule& rule);
Scanned cpu_linear_recurrence(const LinearRecurrence& recurrence);

}  // namespace mlxk
