#include "kernels/cuda/launch_plan.h"

#include <algorithm>

#include "kernels/cuda/driver.h"

namespace mlxk {
namespace {

constexpr int kWarps = 8;
constexpr int kMaxTiles = 4;  // qmm.cu keeps this many sums in registers
constexpr int kMaxDepth = 8;

int ceil_div(int a, int b) { return (a + b - 1) / b; }

}  // namespace

int operands_of(mlx::core::Dtype type) {
  if (type == mlx::core::bfloat16) return 1;
  return type == mlx::core::float16 ? 2 : 3;
}

std::vector<CudaDefine> CudaPacking::defines() const {
  return {{"BITS", bits}, {"GROUP", group}, {"MX", mx}, {"SCALE_TYPE", scale_type}};
}

int CudaPacking::qmv_shared_bytes(int operands) const {
  const int in_bf16 = operands * (columns * 2 + 16 + steps() * 8), in_digits = 3 * (columns + 16) + steps() * 8;
  return std::max(in_bf16, in_digits);
}

bool CudaPacking::suits_qmv(int n, int operands) const {
  const int all = n * operands;
  return all <= 4 && (n <= 2 || columns <= 8192) && qmv_shared_bytes(all) + 12288 <= cuda_device().shared_bytes;
}

int CudaPacking::qmv_warps(int slots) const {
  const int unroll = bits == 4 ? 4 : bits == 8 ? 2 : 1;  // as in qmv.cu
  const int rounds = slots * steps() / unroll;
  if (steps() % unroll != 0 || rounds == 0) return kWarps;
  for (int warps = kWarps; warps > 2; --warps) {
    if (rounds % warps == 0) return warps;
  }
  return kWarps;
}

bool CudaPacking::even_in_qmv(int slots) const {
  const int unroll = bits == 4 ? 4 : bits == 8 ? 2 : 1;
  return steps() % unroll == 0 && slots * steps() % (unroll * qmv_warps(slots)) == 0;
}

bool CudaPacking::digits_in_qmv(int slots) const {
  return (bits == 4 || bits == 8) && group >= 64 && even_in_qmv(slots);
}

bool CudaPacking::wide_scales_of_qmm() const { return bits != 16 && columns / group % 4 == 0; }

bool CudaPacking::suits_grouped(int rows) const {
  constexpr int kStage = 128;  // columns, as in grouped.cu
  const bool known = bits == 16 || mx || (scale_type == 2 && group <= 64);
  return known && columns % kStage == 0 && rows >= 16 && rows % 8 == 0;
}

GroupedPlan CudaPacking::grouped_plan(int pairs_of_expert) const {
  // Twice the mean, because tiles without pairs cost nothing.
  const int tiles = pairs_of_expert <= 4 ? 1 : pairs_of_expert <= 8 ? 2 : pairs_of_expert <= 16 ? 4 : 8;
  constexpr int kStage = 128, kMostDepth = 3;
  const int scale_bytes = bits == 16 ? 0 : mx ? kStage / group : 2 * 2 * kStage / group;
  const int stage = tiles * 8 * kStage * 2 + kGroupedWarps * 32 * (kStage * bits / 8 + scale_bytes);
  for (int resident = tiles == 1 ? 5 : tiles == 2 ? 4 : 3;; --resident) {
    const int depth = std::min(kMostDepth, ((cuda_device().shared_bytes + 1024) / resident - 1024) / stage);
    const int wanted = bits < 16 ? 3 : 2;
    if (depth >= wanted || resident == 1) return {tiles, std::max(depth, 2), resident, std::max(depth, 2) * stage};
  }
}

int CudaPacking::qmm_bytes(const QmmPlan& plan, bool gated) const {
  const int scale_bytes = bits == 16 ? 0 : mx ? 4 : (scale_type == 0 ? 16 : 8) * 2;
  const int span = 4 * (group / step()), quads = plan.depth <= span + 1 ? 2 : 4;
  const int stage = plan.tiles * 8 * step() * 2 + plan.bands * 16 * step() * bits / 8;
  const int stride = plan.tiles % 2 == 0 ? plan.tiles * 8 + 8 : plan.tiles * 8;
  const int sums = (gated ? 2 : 1) * plan.warps * 16 * stride * 4;
  return plan.warps * (plan.depth * stage + quads * plan.bands * 16 * scale_bytes) + sums;
}

QmmPlan CudaPacking::qmm_plan(const std::vector<int>& rows, bool gated, int n, int operands, int groups) const {
  const CudaDevice& device = cuda_device();
  QmmPlan best{};
  // A warp takes the columns of four scales at least. Experts have few columns: more warps would spend their time on
  // sums.
  const int warps = std::clamp(ceil_div(steps(), 4 * (group / step())), 1, groups > 0 ? 2 : kWarps);
  // As many tiles as shared memory allows, and the number of bands that finishes all blocks soonest.
  for (int tiles = std::min(ceil_div(n * operands, 8), kMaxTiles); best.bands == 0 && tiles > 0; --tiles) {
    const int resident = (tiles == 1 ? 2 : 1) * (kWarps / warps);
    QmmPlan plan{tiles, groups > 0 ? tiles * 8 / operands : std::min(n, tiles * 8 / operands), 0, 2, warps, resident,
                 0};
    const int budget = device.shared_bytes / plan.resident - 1024;  // the system's share of each block
    const int blocks = plan.resident * device.multiprocessors;
    int64_t least = -1;
    for (const int bands : gated ? std::vector<int>{4, 2} : std::vector<int>{4, 3, 2, 1}) {
      plan.bands = bands;
      int items = 0;
      for (const int r : rows) items += ceil_div(r, gated ? bands * 8 : bands * 16);
      // A tile of activations costs about a quarter of a band of weights.
      const int in_turn = groups > 0 ? groups : ceil_div(n, plan.at_once);
      const int64_t cost = int64_t{ceil_div(items * in_turn, blocks)} * (4 * bands + tiles);
      if (qmm_bytes(plan, gated) > budget || (least >= 0 && cost >= least)) continue;
      least = cost;
      best = plan;
    }
    if (best.bands == 0) continue;
    for (best.depth = kMaxDepth; qmm_bytes(best, gated) > budget; --best.depth) {
    }
    best.shared_bytes = qmm_bytes(best, gated);
  }
  return best;
}

}  // namespace mlxk
