#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// A block's weights as one operation of the device takes them, made at the first call. A copy made before that makes
/// its own.
class PackedBlock {
 public:
  /// Null where the device has no such operation, or a matrix has a form that it does not know.
  const Packed& of(const std::vector<const Linear*>& linears, const std::optional<Norm>& norm,
                   const std::optional<Norm>& post_norm = std::nullopt) const;

 private:
  mutable Packed layer_;
  mutable bool tried_ = false;
};

}  // namespace mlxk
