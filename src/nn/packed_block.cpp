#include "nn/packed_block.h"

namespace mlxk {

const Packed& PackedBlock::of(const std::vector<const Linear*>& linears, const std::optional<Norm>& norm,
                              const std::optional<Norm>& post_norm) const {
  static const Packed kNone;
  const LayerOps& ops = layer_ops();
  if (!ops.pack) return kNone;
  if (tried_) return layer_;
  tried_ = true;
  std::vector<MatrixWeights> matrices;
  for (const Linear* linear : linears) matrices.push_back(linear->weights());
  const auto weights = [](const std::optional<Norm>& n) { return n ? std::optional(n->weights()) : std::nullopt; };
  layer_ = ops.pack(std::move(matrices), weights(norm), weights(post_norm));
  return layer_;
}

}  // namespace mlxk
