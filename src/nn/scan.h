#pragma once

#include "kernels/device.h"

namespace mlxk {

/// Recurrences by the device's operations, or else as chains of libmlx's operations: the scan in chunks of matrix
/// products (https://arxiv.org/abs/2405.21060), the linear recurrence by doubling, the delta rule token by token.
Scanned scan(const SelectiveScan& scan);
Scanned scan(const DeltaRule& rule);
Scanned scan(const LinearRecurrence& recurrence);

}  // namespace mlxk
