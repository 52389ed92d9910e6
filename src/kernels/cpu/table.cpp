#include "kernels/cpu/table.h"

#include <algorithm>

#include "kernels/cpu/cached_attention.h"
#include "kernels/cpu/convolution.h"
#include "kernels/cpu/head_attention.h"
#include "kernels/cpu/latent_heads.h"
#include "kernels/cpu/lookup.h"
#include "kernels/cpu/mixture.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scan.h"

namespace mlxk {
namespace {

Packed pack(std::vector<MatrixWeights> matrices, std::optional<NormWeights> norm,
            std::optional<NormWeights> post_norm) {
  if (!std::all_of(matrices.begin(), matrices.end(), cpu_reads)) return nullptr;
  return cpu_layer(std::move(matrices), std::move(norm), std::move(post_norm));
}

Packed pack_mixture(MixtureWeights m) {
  const bool readable =
      cpu_reads(m.gate) && cpu_reads(m.up) && cpu_reads(m.down) && (!m.router || cpu_reads(*m.router));
  return readable ? cpu_experts(std::move(m)) : nullptr;
}

std::optional<mx::array> lookup(const mx::array& ids, const MatrixWeights& table) {
  const bool is_float_packed = table.bits > 0 && table.scales->dtype() == mx::uint8;
  if (is_float_packed || !cpu_reads(table)) return std::nullopt;
  return cpu_lookup(ids, table);
}

mx::array norm(const mx::array& x, const NormWeights& norm) {
  return norm.centred ? cpu_layer_norm(x, norm.weight, norm.bias, norm.eps) : cpu_rms_norm(x, norm);
}

constexpr LayerOps kOps{
    .name = "cpu",
    .takes = [](mx::Dtype type) { return type == mx::float32; },
    .pack = pack,
    .matmuls = cpu_matmuls,
    .matmul_residual = cpu_matmul_residual,
    .knows = [](const Activation& activation) { return gated_number(activation).has_value(); },
    .gated_mlp =
        [](const mx::array& x, Packed layer, const Activation& activation, float multiplier) {
          return cpu_gated_mlp(x, std::move(layer), *gated_number(activation), multiplier);
        },
    .mlp = [](const mx::array& x, Packed layer,
              const Activation& activation) { return cpu_mlp(x, std::move(layer), *gated_number(activation)); },
    .activate = [](const mx::array& x,
                   const Activation& activation) { return cpu_activate(x, *gated_number(activation)); },
    .pack_mixture = pack_mixture,
    .mixture = cpu_mixture,
    .chosen_matmul = cpu_gather_matmul,
    .pack_stack = [](const MatrixWeights& stack) { return cpu_reads(stack) ? cpu_stack(stack) : nullptr; },
    .latent_heads = cpu_latent_heads,
    .head_matmul = cpu_head_matmul,
    .attention_step = cpu_cached_attention,
    .attention = cpu_attention,
    .head_attention = cpu_head_attention,
    .by_heads = [](const mx::array& x, int heads) { return cpu_by_heads(x, heads, mx::float16); },
    .cross_attention = cpu_cross_attention,
    .cross_scores = cpu_cross_scores,
    .lookup = lookup,
    .norm = norm,
    .pack_conv = cpu_conv,
    .conv = cpu_convolved,
    .selective_scan = cpu_selective_scan,
    .delta_rule = cpu_delta_rule,
    .linear_recurrence = cpu_linear_recurrence,
};

}  // namespace

const LayerOps& cpu_layer_ops() { return kOps; }

}  // namespace mlxk
