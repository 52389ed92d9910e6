// Kimi-VL (https://arxiv.org/abs/2504.07491): MoonViT over images of any size, with a resized position table and
// queries and keys rotated by column and row; 2 × 2 patches concatenated; two matrices. The patches are rows
// [h * w, channels * side * side], row by row; grid {h, w}.
#include <fmt/format.h>

#include <cmath>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/patch_grid.h"
#include "models/vision/position_table.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kMoonVit{1152, 4304, 27, 16, 1 << 13, 14};
constexpr VitOptions kMoonVitBlocks{
    .names = {
        .norm1 = "norm0", .norm2 = "norm1", .attention = "", .out = "wo", .qkv = "wqkv", .fc1 = "fc0", .fc2 = "fc1"}};

/// Even pairs rotate by column, odd pairs by row. Pairs 2 i and 2 i + 1 have the frequency theta^(-4 i / head_dim).
std::vector<float> angles(const std::vector<PatchPlace>& places, int head_dim) {
  std::vector<float> steps, all;
  for (int i = 0; i < head_dim; i += 4) steps.push_back(static_cast<float>(1 / std::pow(1e4, double(i) / head_dim)));
  for (const auto& place : places) {
    for (const float step : steps) {
      all.push_back(static_cast<float>(place.column) * step);
      all.push_back(static_cast<float>(place.row) * step);
    }
  }
  return all;
}

/// Renames the attention matrices of MLX's checkpoints, which are one level deeper.
void flatten_attention(const WeightPath& tower) {
  auto& tensors = tower.weights().tensors();
  Weights::Tensors renamed;
  for (auto& [name, tensor] : tensors) {
    const size_t at = name.starts_with(tower.path() + ".") ? name.find(".attn.w") : std::string::npos;
    renamed.emplace(at == std::string::npos ? name : name.substr(0, at) + name.substr(at + 5), std::move(tensor));
  }
  tensors = std::move(renamed);
}

class KimiVlEncoder : public MediaEncoder {
 public:
  KimiVlEncoder(const Config& config, const VisionConfig& c, int merge, int table_side, Weights& weights,
                const WeightPath& path, const WeightPath& blocks)
      : type_(weights.activation_type()),
        c_(c),
        merge_(merge),
        patches_(patch_matrix(path / "patch_embed" / "proj", c, true)),
        table_(mx::reshape((path / "patch_embed" / "pos_emb").take("weight", {table_side, table_side, c.hidden_size}),
                           {table_side * table_side, c.hidden_size})),
        blocks_(c, kMoonVitBlocks, blocks / "blocks", c.num_hidden_layers),
        last_norm_(blocks / "final_layernorm", c.hidden_size, c.eps),
        norm_(find_projector(weights, "pre_norm") / "pre_norm", c.hidden_size, 1e-5F),
        projector_(find_projector(weights, "linear_1"), c.hidden_size * merge * merge, c.hidden_size * merge * merge,
                   text_hidden_size(config), Activation::gelu, true) {}

  EncodedMedia encode(const MediaData& data) const override {
    const int rows = grid_number(data, 0), columns = grid_number(data, 1);
    const mx::array patches = rows_of(data, patches_.in(), type_);
    if (patches.shape(0) != rows * columns) {
      throw unfit_media(fmt::format("the number of patches must match the grid of {} × {}", rows, columns));
    }
    std::vector<mx::array> stages;
    mx::array x = patches_(mx::expand_dims(patches, 0));
    x = mx::add(x, mx::astype(resized_table(table_, rows, columns, Resampling::bicubic), x.dtype()));
    const PatchOrder order{
        PatchRotation(angles(grid_places(rows, columns), c_.head_dim), rows * columns, Pairing::neighbours)};
    x = last_norm_(blocks_(x, order, stages));
    const mx::array features = without_batch(projector_(pixel_shuffle(norm_(x), rows, columns, merge_), stages));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  mx::Dtype type_;
  VisionConfig c_;
  int merge_;
  Linear patches_;
  mx::array table_;
  Vit blocks_;
  LayerNorm last_norm_, norm_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_kimi_vl_vision(const Config& config, Weights& weights) {
  const Config vision =
      with_keys(vision_config(config),
                {{"depth", "num_hidden_layers"}, {"num_heads", "num_attention_heads"}, {"embed_dim", "hidden_size"}});
  VisionConfig c = VisionConfig::read(vision, kMoonVit);
  c.eps = 1e-5F;
  if (c.head_dim % 4 != 0) {
    throw vision.bad("num_attention_heads",
                     fmt::format("must give a head size that is a multiple of 4, got {}", c.head_dim));
  }
  const char* merges = vision.has("merge_kernel_size") ? "merge_kernel_size" : "spatial_merge_size";
  const int merge = read_side(vision, merges, 2, 16), side = read_side(vision, "init_pos_emb_height", 64, 1 << 12);
  const WeightPath path = find_path(weights, {"vision_tower", "model.vision_tower"}, "patch_embed.proj");
  flatten_attention(path);
  const WeightPath blocks = path.has("final_layernorm.weight") ? path : path / "encoder";
  return std::make_unique<KimiVlEncoder>(config, c, merge, side, weights, path, blocks);
}

}  // namespace mlxk
