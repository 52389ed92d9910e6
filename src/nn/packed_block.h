#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// A block's weights in the form of one device operation, made on the first call. A copy of the block made earlier
/// builds its own.
class PackedBlock {
 public:
  /// Null if the device has no such operation or does not support a matrix's form.
  const Packed& of(const std::vector<const Linear*>& linears, const std::optional<Norm>& norm,
                   const std::optional<Norm>& post_norm = std::nullopt) const;

 private:
  mutable Packed layer_;
  mutable bool tried_ = false;
};

}  // namespace mlxk
