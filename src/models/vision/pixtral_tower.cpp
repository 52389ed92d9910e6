#include "models/vision/pixtral_tower.h"

#include <fmt/format.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kPixtralDefaults{1024, 4096, 24, 16, 1024, 16, "gelu", 1e-5};
constexpr VitOptions kPixtralBlocks{.names = {.norm1 = "attention_norm",
                                              .norm2 = "ffn_norm",
                                              .attention = "attention",
                                              .out = "o_proj",
                                              .mlp = "feed_forward",
                                              .gate = "gate_proj"},
                                    .norm = NormKind::rms,
                                    .qkv_bias = false,
                                    .out_bias = false,
                                    .mlp_bias = false};

/// Of the frequencies theta^(-2 i / head_dim), rows use the even ones and columns the odd ones.
std::vector<float> pixtral_angles(const std::vector<PatchPlace>& places, int head_dim, double theta) {
  std::vector<float> steps, all;
  for (int i = 0; i < head_dim; i += 2) steps.push_back(static_cast<float>(1 / std::pow(theta, double(i) / head_dim)));
  for (const auto& place : places) {
    for (size_t i = 0; i < steps.size(); i += 2) all.push_back(static_cast<float>(place.row) * steps[i]);
    for (size_t i = 1; i < steps.size(); i += 2) all.push_back(static_cast<float>(place.column) * steps[i]);
  }
  return all;
}

}  // namespace

VisionConfig PixtralTower::read(const Config& vision) {
  VisionConfig c = VisionConfig::read(vision, kPixtralDefaults);
  c.eps = 1e-5F;
  if (c.head_dim % 4 != 0) throw vision.bad("head_dim", fmt::format("must be a multiple of 4, got {}", c.head_dim));
  return c;
}

PixtralTower::PixtralTower(const Config& vision, const VisionConfig& c, const WeightPath& path, int layers)
    : c_(c),
      theta_(rope_theta(vision, 1e4)),
      patches_(patch_conv(path / "patch_conv", c.channels, c.hidden_size, c.patch_size, false)),
      norm_(path / "ln_pre", c.hidden_size, c.eps),
      blocks_(c, kPixtralBlocks, path / "transformer" / "layers", layers) {}

std::vector<mx::array> PixtralTower::states(const mx::array& pixels, std::vector<mx::array>& stages) const {
  const int rows = pixels.shape(1) / c_.patch_size, columns = pixels.shape(2) / c_.patch_size;
  if (rows < 1 || columns < 1) throw unfit_media("an image must have a patch or more");
  const double flops = 2.0 * columns * c_.channels * c_.patch_size * c_.patch_size * c_.hidden_size;  // of a row
  const mx::array patches = in_pieces(rows, flops, 1, stages, [&](int begin, int end) {
    const mx::array own =
        mx::slice(pixels, {0, begin * c_.patch_size, 0, 0}, {1, end * c_.patch_size, pixels.shape(2), c_.channels});
    return mx::reshape(patches_(own), {1, (end - begin) * columns, c_.hidden_size});
  });
  const mx::array x = norm_(patches);
  const PatchOrder order{
      PatchRotation(pixtral_angles(grid_places(rows, columns), c_.head_dim, theta_), rows * columns, Pairing::halves)};
  return blocks_.states(x, order, stages);
}

}  // namespace mlxk
