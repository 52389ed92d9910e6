#include "kernels/cuda/table.h"

#include <algorithm>

#include "kernels/cuda/cuda_attention.h"
#include "kernels/cuda/cuda_mixture.h"
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/cuda_ops.h"
#include "mlx/fast.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

/// A block's matrices in the form that the kernels need: all at once, or as a gated MLP.
struct CudaBlock : PackedLayer {
  std::shared_ptr<const CudaLayer> all, gated, down;
};

Packed pack(std::vector<MatrixWeights> matrices, std::optional<NormWeights> norm,
            std::optional<NormWeights> post_norm) {
  if (post_norm) return nullptr;
  auto block = std::make_shared<CudaBlock>();
  const int columns = matrices.at(0).columns;
  const bool same = std::all_of(matrices.begin(), matrices.end(), [&](const auto& m) { return m.columns == columns; });
  if (same && !(block->all = cuda_layer(matrices, norm))) return nullptr;
  if (matrices.size() == 3 && matrices[0].rows == matrices[1].rows && matrices[2].columns == matrices[0].rows) {
    block->gated = cuda_layer({matrices[0], matrices[1]}, norm);
    block->down = cuda_layer({matrices[2]});
    if (!block->gated || !block->down) block->gated = block->down = nullptr;
  }
  return block->all || block->gated ? block : nullptr;
}

const CudaBlock& block_of(const Packed& layer) { return static_cast<const CudaBlock&>(*layer); }

bool few_rows(const mx::array& x) {
  return static_cast<int64_t>(x.size()) <= int64_t{kCudaFewRows} * std::max(1, x.shape(-1));
}

mx::array normed(const mx::array& x, const CudaLayer& layer) {
  return layer.norm ? mx::fast::rms_norm(x, layer.norm->weight, layer.norm->eps) : x;
}

/// With many rows the weights are unpacked for libmlx's product.
mx::array product(const mx::array& x, const MatrixWeights& m) {
  const mx::array weight = m.bits == 0 ? mx::astype(m.weight, x.dtype()) : cuda_unpacked(m, x.dtype());
  const mx::array y = mx::matmul(x, mx::transpose(weight));
  return m.bias ? mx::add(y, mx::astype(*m.bias, x.dtype())) : y;
}

std::vector<mx::array> matmuls(const mx::array& x, Packed layer) {
  const auto& all = block_of(layer).all;
  if (few_rows(x)) return cuda_matmuls(x, all);
  const mx::array h = normed(x, *all);
  std::vector<mx::array> ys;
  for (const MatrixWeights& m : all->matrices) ys.push_back(product(h, m));
  return ys;
}

mx::array add_residual(const mx::array& y, float multiplier, const mx::array& residual) {
  return mx::add(residual, multiplier == 1 ? y : mx::multiply(y, mx::array(multiplier, y.dtype())));
}

mx::array matmul_residual(const mx::array& x, Packed layer, float multiplier, const mx::array& residual) {
  const auto& all = block_of(layer).all;
  if (few_rows(x)) return cuda_matmul_residual(x, all, multiplier, residual);
  return add_residual(product(x, all->matrices[0]), multiplier, residual);
}

mx::array gated_mlp(const mx::array& x, Packed layer, const Activation& activation, float multiplier) {
  const CudaBlock& block = block_of(layer);
  const int number = *gated_number(activation);
  if (few_rows(x)) return cuda_matmul_residual(cuda_gated(x, block.gated, number), block.down, multiplier, x);
  const mx::array h = normed(x, *block.gated);
  const mx::array y =
      cuda_activated(product(h, block.gated->matrices[0]), product(h, block.gated->matrices[1]), number);
  return add_residual(product(y, block.down->matrices[0]), multiplier, x);
}

struct MixtureBlock : PackedLayer {
  std::shared_ptr<const CudaMixture> mixture;
};

Packed pack_mixture(MixtureWeights weights) {
  const auto activation = gated_number(weights.activation);
  auto block = std::make_shared<MixtureBlock>();
  if (activation) block->mixture = cuda_mixture_layer(std::move(weights), *activation);
  return block->mixture ? block : nullptr;
}

mx::array mixture(const mx::array& x, Packed packed, float multiplier, const std::optional<mx::array>& residual) {
  const auto& m = static_cast<const MixtureBlock&>(*packed).mixture;
  if (few_rows(x) && m->packed_router) return cuda_mixture(x, m, multiplier, residual);
  const mx::array logits = mx::astype(product(normed(x, *m->gate_up), m->router), mx::float32);
  return cuda_mixture(x, m, multiplier, residual, logits);
}

std::optional<mx::array> lookup(const mx::array& ids, const MatrixWeights& table) {
  const bool known = table.biases && (table.bits == 4 || table.bits == 8) &&
                     (table.group == 32 || table.group == 64 || table.group == 128) &&
                     cuda_type(table.scales->dtype()) >= 0;
  return known ? std::optional(cuda_lookup(ids, table, table.scales->dtype())) : std::nullopt;
}

constexpr LayerOps kOps{
    .name = "cuda",
    .takes = [](mx::Dtype type) { return cuda_type(type) >= 0; },
    .pack = pack,
    .matmuls = matmuls,
    .matmul_residual = matmul_residual,
    .knows = [](const Activation& activation) { return gated_number(activation).has_value(); },
    .gated_mlp = gated_mlp,
    .pack_mixture = pack_mixture,
    .mixture = mixture,
    .attends = cuda_attends,
    .attention_step = cuda_attention_step,
    .lookup = lookup,
};

}  // namespace

const LayerOps& cuda_layer_ops() { return kOps; }

}  // namespace mlxk
