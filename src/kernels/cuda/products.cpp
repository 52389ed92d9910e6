#include "kernels/cuda/products.h"

#include <algorithm>

#include "kernels/cuda/counters.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/functions.h"

namespace mlxk {

namespace {

// As in qmv.cu and qmm.cu.
struct Matrix {
  const void* weight;
  const void* scales;
  const void* biases;
  const void* bias;
  void* y;
  int rows, first_tile;
};

struct QmvParams {
  Matrix matrices[4];
  int count, gated, activation, tiles, columns;
  float eps, multiplier;
  const void* x;
  const void* norm;
  const void* residual;
  const void* ids;
  const void* weights;
  int slots;
  const void* groups;
  const void* order;
  void* arrived;
  RouteParams route;
};

struct QmmParams {
  Matrix matrices[4];
  int count, gated, activation, tiles, columns, n, at_once;
  float multiplier;
  const void* x;
  const void* residual;
  const void* groups;
  const void* order;
  int pairs_of_row;
};

// As in grouped.cu.
struct GroupedParams {
  struct {
    const void* weight;
    const void* scales;
    const void* biases;
    const void* bias;
  } matrices[2];
  void* y;
  int rows, columns, tiles, activation, pairs_of_row;
  const void* x;
  const void* groups;
  const void* order;
};

// As in rows.cu.
struct NormParams {
  const void* x;
  const void* weight;
  void* y;
  int columns;
  float eps;
};

const void* data_of(const std::optional<mx::array>& a) { return a ? cuda_data(*a) : nullptr; }

/// The matrices in the kernel's form, their rows cut into tiles of `tile_rows`; returns the number of tiles.
int fill(Matrix* out, const CudaLayer& layer, const Arrays& ys, bool gated, int tile_rows) {
  int tiles = 0;
  for (size_t i = 0; i < layer.matrices.size(); ++i) {
    const MatrixWeights& m = layer.matrices[i];
    out[i] = {cuda_data(m.weight),
              data_of(m.scales),
              data_of(m.biases),
              data_of(m.bias),
              cuda_data(ys[gated ? 0 : i]),
              m.rows,
              gated ? 0 : tiles};
    const int own = (m.rows + tile_rows - 1) / tile_rows;
    tiles = gated ? own : tiles + own;
  }
  return tiles;
}

QmvParams qmv_params(const CudaLayer& layer, const ProductStep& step, const mx::array& x, const Arrays& ys) {
  QmvParams p{};
  p.tiles = fill(p.matrices, layer, ys, step.gated, step.gated ? 8 : 16);
  p.count = static_cast<int>(layer.matrices.size());
  p.gated = step.gated;
  p.activation = step.activation;
  p.columns = layer.packing.columns;
  p.multiplier = step.multiplier;
  p.x = cuda_data(x);
  p.residual = step.residual ? cuda_data(*step.residual) : nullptr;
  if (layer.norm) {
    p.norm = cuda_data(layer.norm->weight);
    p.eps = layer.norm->eps;
  }
  return p;
}

struct QmvLaunch {
  int rows = 1;                       // of activations in a block
  int slots = 1;                      // whose columns make up one product
  int tokens = 1;                     // or groups: each has its own blocks
  int blocks = 0;                     // of each; 0: as many as the device runs at once
  std::vector<CudaDefine> more = {};  // macros that do not follow from the arrays
  bool routes = false;                // with a router's choice
};

/// The packing as qmv.cu takes it: two scales of mxfp4 are one group if one row is multiplied in bytes.
CudaPacking qmv_packing(const CudaLayer& layer, const QmvLaunch& launch, mx::Dtype type) {
  CudaPacking pairs = layer.packing;
  pairs.group = 64;
  const bool bytes = pairs.mx && launch.rows == 1 && type == mx::bfloat16 && pairs.columns % 64 == 0;
  return bytes && pairs.digits_in_qmv(launch.slots) ? pairs : layer.packing;
}

void launch_qmv(CudaLaunches& launches, const CudaLayer& layer, const QmvLaunch& launch, const QmvParams& p,
                const ArrayRefs& reads, const ArrayRefs& writes) {
  const mx::array& x = reads.front();
  CudaPacking packing = qmv_packing(layer, launch, x.dtype());
  const int warps = packing.qmv_warps(launch.slots);
  auto defines = packing.defines();
  defines.insert(defines.end(), {{"TYPE", cuda_type(x.dtype())},
                                 {"OUT_TYPE", cuda_type(writes.front().get().dtype())},
                                 {"NORM_TYPE", layer.norm ? cuda_type(layer.norm->weight.dtype()) : 0},
                                 {"ROWS", launch.rows},
                                 {"WARPS", warps},
                                 {"EVEN", packing.even_in_qmv(launch.slots)},
                                 {"DIGITS", launch.rows == 1 && packing.digits_in_qmv(launch.slots)}});
  defines.insert(defines.end(), launch.more.begin(), launch.more.end());
  packing.columns = p.columns;
  const int shared = packing.qmv_shared_bytes(launch.rows * operands_of(x.dtype()));
  std::vector<const char*> sources{cuda_source::common, cuda_source::packed, cuda_source::qmv};
  if (launch.routes) sources.insert(sources.end() - 1, cuda_source::routing);
  auto* function = cuda_function(sources, "qmv", defines, shared);
  const int resident = std::clamp(cuda_device().shared_bytes / (shared + (2 * warps + 1) * 1024), 1, 16 / warps);
  const int blocks =
      launch.blocks > 0 ? launch.blocks : std::max(1, resident * cuda_device().multiprocessors / launch.tokens);
  const dim3 grid{static_cast<unsigned>(std::min(p.tiles, blocks)), static_cast<unsigned>(launch.tokens)};
  launches.launch(function, grid, static_cast<unsigned>(warps) * 32, shared, p, reads, writes);
}

/// x, normalised, as bf16 operands. `ordered`: in the order of weights of four bits.
mx::array operands(CudaLaunches& launches, const CudaLayer& layer, const mx::array& x, int n, bool ordered = false) {
  if (!layer.norm && x.dtype() == mx::bfloat16 && !ordered) return x;
  const int columns = layer.packing.columns;
  mx::array y = launches.scratch(static_cast<size_t>(n) * operands_of(x.dtype()) * columns * 2);
  NormParams p{cuda_data(x), nullptr, cuda_data(y), columns, 0};
  if (layer.norm) {
    p.weight = cuda_data(layer.norm->weight);
    p.eps = layer.norm->eps;
  }
  auto* function = cuda_function({cuda_source::common, cuda_source::rows}, "operands",
                                 {{"TYPE", cuda_type(x.dtype())},
                                  {"NORM_TYPE", layer.norm ? cuda_type(layer.norm->weight.dtype()) : 0},
                                  {"ORDERED", ordered}});
  launches.launch(function, {static_cast<unsigned>(n)}, 256, 0, p, {x}, {y});
  return y;
}

QmmParams qmm_params(const CudaLayer& layer, const ProductStep& step, const QmmPlan& plan, const mx::array& x,
                     const Arrays& ys) {
  QmmParams p{};
  p.tiles = fill(p.matrices, layer, ys, step.gated, plan.bands * (step.gated ? 8 : 16));
  p.count = static_cast<int>(layer.matrices.size());
  p.gated = step.gated;
  p.activation = step.activation;
  p.columns = layer.packing.columns;
  p.at_once = plan.at_once;
  p.multiplier = step.multiplier;
  p.x = cuda_data(x);
  p.residual = step.residual ? cuda_data(*step.residual) : nullptr;
  return p;
}

/// `groups`: the number of groups of activations at most.
void launch_qmm(CudaLaunches& launches, const CudaLayer& layer, const QmmPlan& plan, const QmmParams& p, int parts,
                bool experts, int groups, const ArrayRefs& reads, const ArrayRefs& writes) {
  auto defines = layer.packing.defines();
  defines.insert(defines.end(), {{"OUT_TYPE", cuda_type(writes.front().get().dtype())},
                                 {"PARTS", parts},
                                 {"TILES", plan.tiles},
                                 {"BANDS", plan.bands},
                                 {"DEPTH", plan.depth},
                                 {"WARPS", plan.warps},
                                 {"RESIDENT", plan.resident},
                                 {"WIDE_SCALES", layer.packing.wide_scales_of_qmm()},
                                 {"EXPERTS", experts}});
  auto* function =
      cuda_function({cuda_source::common, cuda_source::packed, cuda_source::qmm}, "qmm", defines, plan.shared_bytes);
  const auto blocks = std::min(int64_t{p.tiles} * groups, int64_t{plan.resident} * cuda_device().multiprocessors);
  launches.launch(function, {static_cast<unsigned>(blocks)}, static_cast<unsigned>(plan.warps) * 32, plan.shared_bytes,
                  p, reads, writes);
}

std::vector<int> rows_of(const CudaLayer& layer, bool gated) {
  std::vector<int> rows;
  for (const MatrixWeights& m : layer.matrices) rows.push_back(m.rows);
  if (gated) rows.pop_back();
  return rows;
}

}  // namespace

void launch_products(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step, const mx::array& x,
                     Arrays& ys) {
  const int n = x.shape(-1) == 0 ? 0 : static_cast<int>(x.size() / static_cast<size_t>(x.shape(-1)));
  const int parts = operands_of(x.dtype());
  if (n == 0) return;
  const ArrayRefs writes(ys.begin(), ys.end());
  if (layer.packing.suits_qmv(n, parts)) {
    ArrayRefs reads{x};
    if (step.residual) reads.emplace_back(*step.residual);
    launch_qmv(launches, layer, {.rows = n}, qmv_params(layer, step, x, ys), reads, writes);
    return;
  }
  const QmmPlan plan = layer.packing.qmm_plan(rows_of(layer, step.gated), step.gated, n, parts);
  const mx::array in = operands(launches, layer, x, n);
  QmmParams p = qmm_params(layer, step, plan, in, ys);
  p.n = n;
  ArrayRefs reads{in};
  if (step.residual) reads.emplace_back(*step.residual);
  launch_qmm(launches, layer, plan, p, parts, false, (n + plan.at_once - 1) / plan.at_once, reads, writes);
}

CudaDefine lane_experts(int experts) { return {"LANE_EXPERTS", (experts + 31) / 32}; }

bool suits_router(const CudaLayer& router, const RouteParams& route, mx::Dtype type) {
  return route.groups == 1 && router.packing.suits_qmv(route.tokens, operands_of(type));
}

void launch_router(CudaLaunches& launches, const CudaLayer& router, const RouteParams& route, const mx::array& x,
                   mx::array& logits, Chosen& chosen) {
  QmvParams p = qmv_params(router, {}, x, {logits});
  const mx::array& arrived = cuda_counters(1);
  p.arrived = cuda_data(arrived);
  p.route = route;
  const QmvLaunch launch{.rows = route.tokens, .more = {{"ROUTE", 1}, lane_experts(route.experts)}, .routes = true};
  launch_qmv(launches, router, launch, p, {x}, {logits, chosen.ids, chosen.weights, arrived});
}

bool suits_chosen(const CudaLayer& gate_up, const CudaLayer& down, mx::Dtype type, int slots) {
  CudaPacking all = down.packing;
  all.columns *= slots;
  const int parts = operands_of(type);
  return gate_up.packing.suits_qmv(1, parts) && all.suits_qmv(1, parts);
}

void launch_chosen_gated(CudaLaunches& launches, const CudaLayer& gate_up, const Chosen& chosen, int activation,
                         const mx::array& x, mx::array& y) {
  ProductStep step;
  step.gated = true;
  step.activation = activation;
  QmvParams p = qmv_params(gate_up, step, x, {y});
  p.tiles *= chosen.slots;
  p.ids = cuda_data(chosen.ids);
  p.slots = chosen.slots;
  launch_qmv(launches, gate_up, {.tokens = chosen.tokens, .more = {{"EXPERTS", 1}, {"SLOT_STEPS", 1}}}, p,
             {x, chosen.ids}, {y});
}

void launch_chosen_down(CudaLaunches& launches, const CudaLayer& down, const Chosen& chosen, const ProductStep& step,
                        const mx::array& x, mx::array& y) {
  QmvParams p = qmv_params(down, step, x, {y});
  p.columns *= chosen.slots;
  p.ids = cuda_data(chosen.ids);
  p.weights = cuda_data(chosen.weights);
  p.slots = chosen.slots;
  QmvLaunch launch{.slots = chosen.slots, .tokens = chosen.tokens};
  launch.more = {{"EXPERTS", 2}, {"SLOT_STEPS", qmv_packing(down, launch, x.dtype()).steps()}};
  launch_qmv(launches, down, launch, p, {x, *step.residual, chosen.ids, chosen.weights}, {y});
}

int few_pairs(const CudaLayer& layer, mx::Dtype type) {
  int rows = 4 / operands_of(type);
  while (rows > 0 && !layer.packing.suits_qmv(rows, operands_of(type))) --rows;
  return rows;
}

void launch_grouped_few(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step,
                        const PairGroups& pairs, int pairs_of_row, const mx::array& x, mx::array& y) {
  QmvParams p = qmv_params(layer, step, x, {y});
  p.groups = cuda_data(pairs.groups);
  p.order = cuda_data(pairs.order);
  p.slots = pairs_of_row;
  constexpr int kTilesOfBlock = 12;
  const QmvLaunch launch{.rows = pairs.at_once,
                         .tokens = pairs.most,
                         .blocks = (p.tiles + kTilesOfBlock - 1) / kTilesOfBlock,
                         .more = {{"EXPERTS", 3}, {"SLOT_STEPS", 1}}};
  launch_qmv(launches, layer, launch, p, {x, pairs.groups, pairs.order}, {y});
}

bool suits_grouped_many(const CudaLayer& gate_up, const CudaLayer& down, mx::Dtype type) {
  return type == mx::bfloat16 && gate_up.packing.suits_grouped(gate_up.matrices[0].rows) &&
         down.packing.suits_grouped(down.matrices[0].rows);
}

void launch_grouped_many(CudaLaunches& launches, const CudaLayer& gate_up, const CudaLayer& down, int activation,
                         const PairGroups& pairs, const GroupedPlan plans[2], int slots, const mx::array& x,
                         mx::array& activated, mx::array& y) {
  const auto product = [&](const CudaLayer& layer, const GroupedPlan& plan, bool gated, bool ordered, int pairs_of_row,
                           const mx::array& in, const mx::array& out) {
    GroupedParams p{};
    for (size_t i = 0; i < layer.matrices.size(); ++i) {
      const MatrixWeights& m = layer.matrices[i];
      p.matrices[i] = {cuda_data(m.weight), data_of(m.scales), data_of(m.biases), data_of(m.bias)};
    }
    const int tile_rows = kGroupedWarps * (gated ? 16 : 32);
    p.y = cuda_data(out);
    p.rows = layer.matrices[0].rows;
    p.columns = layer.packing.columns;
    p.tiles = (p.rows + tile_rows - 1) / tile_rows;
    p.activation = activation;
    p.pairs_of_row = pairs_of_row;
    p.x = cuda_data(in);
    p.groups = cuda_data(pairs.groups);
    p.order = cuda_data(pairs.order);
    auto defines = layer.packing.defines();
    defines.insert(defines.end(), {{"TILES", plan.tiles},
                                   {"WARPS", kGroupedWarps},
                                   {"DEPTH", plan.depth},
                                   {"RESIDENT", plan.resident},
                                   {"GATED", gated},
                                   {"ORDERED", ordered}});
    auto* function = cuda_function({cuda_source::common, cuda_source::packed, cuda_source::grouped}, "grouped", defines,
                                   plan.shared_bytes);
    const auto blocks = std::min(int64_t{p.tiles} * pairs.most, int64_t{plan.resident} * cuda_device().multiprocessors);
    launches.launch(function, {static_cast<unsigned>(blocks)}, kGroupedWarps * 32, plan.shared_bytes, p,
                    {in, pairs.groups, pairs.order}, {out});
  };
  const int tokens = static_cast<int>(x.size() / static_cast<size_t>(gate_up.packing.columns));
  const mx::array in = operands(launches, gate_up, x, tokens, gate_up.packing.bits == 4);
  product(gate_up, plans[0], true, down.packing.bits == 4, slots, in, activated);
  product(down, plans[1], false, false, 1, activated, y);
}

QmmPlan grouped_plan(const CudaLayer& layer, bool gated, mx::Dtype type, int pairs_of_expert, int groups) {
  return layer.packing.qmm_plan(rows_of(layer, gated), gated, pairs_of_expert, operands_of(type), groups);
}

void launch_grouped(CudaLaunches& launches, const CudaLayer& layer, const ProductStep& step, const PairGroups& pairs,
                    const QmmPlan& plan, int pairs_of_row, const mx::array& x, mx::array& y) {
  const auto rows = x.size() / static_cast<size_t>(layer.packing.columns);
  const mx::array in = operands(launches, layer, x, static_cast<int>(rows));
  QmmParams p = qmm_params(layer, step, plan, in, {y});
  p.groups = cuda_data(pairs.groups);
  p.order = cuda_data(pairs.order);
  p.pairs_of_row = pairs_of_row;
  launch_qmm(launches, layer, plan, p, operands_of(x.dtype()), true, pairs.most, {in, pairs.groups, pairs.order}, {y});
}

}  // namespace mlxk
