#pragma once

#include "kernels/device.h"

namespace mlxk {

/// LayerOps' recurrences, one operation each, of float32 arrays; throw invalid_argument for shapes that do not fit.
Scanned cpu_selective_scan(const SelectiveScan& scan);
Scanned cpu_delta_rule(const DeltaRule& rule);
Scanned cpu_linear_recurrence(const LinearRecurrence& recurrence);

}  // namespace mlxk
