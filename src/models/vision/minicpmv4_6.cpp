// MiniCPM-V 4.6 (https://arxiv.org/abs/2509.18154): a SigLIP tower over slices of any size, which merges 2 × 2 patches
// in its middle by attention within them and a matrix, and again after its last block. Patches are rows [patches,
// channels * side * side] of all slices, each slice's row by row; grid {h, w} of each.
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

constexpr int kMiniCpmVMerge = 2, kCell = kMiniCpmVMerge * kMiniCpmVMerge;
constexpr VisionDefaults kMiniCpmVDefaults{768, 3072, 12, 12, 224, 16};

struct MiniCpmVConfig : VisionConfig {
  int insert_after;  // the block after which patches are merged; -1: they are not
  int merger_times, window_wide;
};

MiniCpmVConfig read_minicpmv(const Config& config) {
  const Config vision = vision_config(config);
  MiniCpmVConfig c{VisionConfig::read(vision, kMiniCpmVDefaults)};
  const std::string mode = config.text_or("downsample_mode", "16x");
  if (mode != "16x" && mode != "4x") throw config.bad("downsample_mode", "must be 16x or 4x, got " + mode);
  const Config& place = vision.has("insert_layer_id") ? vision : config;
  c.insert_after = static_cast<int>(place.integer_or("insert_layer_id", 6, -1, c.num_hidden_layers - 1));
  c.merger_times = static_cast<int>(config.integer_or("merger_times", 1, 1, 8));
  if (mode == "4x") c.insert_after = -1;
  for (const auto& [where, key] : {std::pair(vision, "window_kernel_size"), std::pair(config, "merge_kernel_size")}) {
    if (read_side(where, key, kMiniCpmVMerge, 64) != kMiniCpmVMerge) throw where.bad(key, "must be 2 for both sides");
  }
  c.window_wide = kCell * c.intermediate_size;
  return c;
}

/// Attention of patches within their block of 2 × 2, and the block merged to one vector.
class WindowMerger {
 public:
  WindowMerger(const MiniCpmVConfig& c, const WeightPath& path)
      : heads_(c.num_attention_heads),
        scale_(1 / std::sqrt(static_cast<float>(c.head_dim))),
        project_{LayerNorm(path / "layer_norm1", c.hidden_size, c.eps),
                 Linear(path / "self_attn" / "q_proj", c.hidden_size, c.hidden_size, true),
                 Linear(path / "self_attn" / "k_proj", c.hidden_size, c.hidden_size, true),
                 Linear(path / "self_attn" / "v_proj", c.hidden_size, c.hidden_size, true),
                 std::nullopt,
                 std::nullopt,
                 c.head_dim},
        out_{Linear(path / "self_attn" / "out_proj", c.hidden_size, c.hidden_size, true)},
        norm_(path / "pre_norm", kCell * c.hidden_size, c.eps),
        projector_(path, kCell * c.hidden_size, c.window_wide, c.hidden_size, Activation::gelu_tanh, true) {}

  /// x [1, rows * columns, hidden] → [1, rows * columns / 4, hidden], row by row.
  mx::array operator()(const mx::array& x, int rows, int columns, std::vector<mx::array>& stages) const {
    const int cells = rows * columns / kCell, hidden = x.shape(2);
    const mx::array windows = mx::reshape(pixel_shuffle(x, rows, columns, kMiniCpmVMerge), {cells, kCell, hidden});
    const Qkv seen = project_(windows);
    const mx::array y = out_(attend_to_all(seen.q, seen.k, seen.v, heads_, scale_), windows);
    const mx::array merged = projector_(norm_(mx::reshape(y, {1, cells, kCell * hidden})), stages);
    return mx::add(merged, mx::reshape(mx::mean(y, 1), {1, cells, hidden}));
  }

 private:
  int heads_;
  float scale_;
  NormQkv project_;
  OutResidual out_;
  LayerNorm norm_;
  Projector projector_;
};

struct LastMerger {
  LayerNorm norm;
  Projector projector;
};

class MiniCpmVEncoder : public MediaEncoder {
 public:
  MiniCpmVEncoder(const Config& config, const MiniCpmVConfig& c, const WeightPath& path, const WeightPath& merger)
      : type_(path.weights().activation_type()),
        c_(c),
        patches_(patch_matrix(path / "embeddings" / "patch_embedding", c, true)),
        positions_(take_table(path / "embeddings" / "position_embedding", c.grid() * c.grid(), c.hidden_size)),
        blocks_(c, {}, path / "encoder" / "layers", c.num_hidden_layers),
        last_norm_(path / "post_layernorm", c.hidden_size, c.eps) {
    if (c.insert_after >= 0) window_merger_.emplace(c, path / "vit_merger");
    const int wide = kCell * c.hidden_size;
    for (int i = 0; i < c.merger_times; ++i) {
      const WeightPath mlp = merger / "mlp" / i;
      const int out = i + 1 == c.merger_times ? text_hidden_size(config) : c.hidden_size;
      mergers_.push_back(
          {LayerNorm(mlp / "pre_norm", wide, 1e-6F), Projector(mlp, wide, wide, out, Activation::gelu, true)});
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const mx::array all = rows_of(data, patches_.in(), type_);
    std::vector<mx::array> features, stages;
    int begin = 0;
    for (size_t i = 0; i < data.grid.size(); i += 2) {
      const int rows = grid_number(data, i), columns = grid_number(data, i + 1), end = begin + rows * columns;
      if (end > all.shape(0)) throw unfit_media("the grid has more patches than there are");
      features.push_back(slice(mx::slice(all, {begin, 0}, {end, all.shape(1)}), rows, columns, stages));
      begin = end;
    }
    if (begin != all.shape(0) || features.empty()) throw unfit_media("the grid has fewer patches than there are");
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  mx::array slice(const mx::array& patches, int rows, int columns, std::vector<mx::array>& stages) const {
    const std::vector<int> at = bucket_positions(rows, columns, c_.grid(), false);
    const mx::array positions = mx::take(positions_, mx::array(at.data(), {rows * columns}, mx::int32), 0);
    mx::array x = patches_(mx::expand_dims(patches, 0));
    x = mx::add(x, mx::astype(positions, x.dtype()));
    for (int i = 0; i < c_.num_hidden_layers; ++i) {
      x = blocks_.blocks()[static_cast<size_t>(i)](x, {}, stages);
      if (i != c_.insert_after) continue;
      x = (*window_merger_)(x, rows, columns, stages);
      stages.push_back(x);
      rows /= kMiniCpmVMerge;
      columns /= kMiniCpmVMerge;
    }
    x = last_norm_(x);
    for (const auto& merger : mergers_) {
      x = merger.projector(merger.norm(pixel_shuffle(x, rows, columns, kMiniCpmVMerge)), stages);
      rows /= kMiniCpmVMerge;
      columns /= kMiniCpmVMerge;
    }
    stages.push_back(x);
    return without_batch(x);
  }

  mx::Dtype type_;
  MiniCpmVConfig c_;
  Linear patches_;
  mx::array positions_;
  Vit blocks_;
  LayerNorm last_norm_;
  std::optional<WindowMerger> window_merger_;
  std::vector<LastMerger> mergers_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_minicpmv4_6_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"vision_tower", "model.vision_tower"}, "embeddings.patch_embedding");
  return std::make_unique<MiniCpmVEncoder>(config, read_minicpmv(config), path,
                                           find_path(weights, {"merger", "model.merger"}, "mlp"));
}

}  // namespace mlxk
