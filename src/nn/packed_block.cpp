#include "nn/packed_block.h"

namespace mlxk {

const std::shared_ptr<const CpuLayer>& PackedBlock::of(const std::vector<const Linear*>& linears,
                                                       const std::optional<Norm>& norm,
                                                       const std::optional<Norm>& post_norm) const {
  if (known_ || !cpu_is_default()) return layer_;
  known_ = true;
  std::vector<CpuMatrix> matrices;
  for (const Linear* linear : linears) {
    auto matrix = linear->cpu();
    if (!matrix) return layer_;
    matrices.push_back(*matrix);
  }
  const auto cpu = [](const std::optional<Norm>& n) { return n ? std::optional(n->cpu()) : std::nullopt; };
  layer_ = cpu_layer(std::move(matrices), cpu(norm), cpu(post_norm));
  return layer_;
}

}  // namespace mlxk
