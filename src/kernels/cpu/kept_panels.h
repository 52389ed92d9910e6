#pragma once

#include <cstdint>
#include <vector>

#include "cpu/matmul.h"
#include "cpu/phase.h"
#include "cpu/scratch.h"

namespace mlxk {

/// The unpacked panels of a layer's matrices. They stay, and count in the budget of all layers, until the layer is
/// destroyed with its model: giving them back earlier would make the next text pay for them again.
class KeptPanels {
 public:
  KeptPanels() = default;
  ~KeptPanels();
  KeptPanels(const KeptPanels&) = delete;
  KeptPanels& operator=(const KeptPanels&) = delete;

  /// On the first call unpacks `views` for good, for products in `phase`, if the budget allows; returns whether they
  /// are unpacked. On libmlx's thread.
  bool keep(std::vector<MatrixView>& views, Phase phase);

 private:
  bool asked_ = false;
  int64_t bytes_ = 0;
  Scratch panels_;
};

}  // namespace mlxk
