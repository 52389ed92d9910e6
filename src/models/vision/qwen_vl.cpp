// The towers of Qwen2-VL (https://arxiv.org/abs/2409.12191), Qwen2.5-VL (https://arxiv.org/abs/2502.13923), Qwen3-VL
// and Qwen3.5: images of any size, queries and keys rotated by row and column, blocks of patches merged to one token.
// Qwen2.5-VL's blocks use windowed attention, except for a few; Qwen3-VL also has a table of positions, and adds the
// output of some blocks to the first layers of the language model. Patches as described in patch_grid.h.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/patch_grid.h"
#include "models/vision/position_table.h"

namespace mlxk {
namespace {

constexpr float kQwenEps = 1e-6F;
constexpr int kAnySize = 1 << 13;  // these have no fixed size

constexpr VitNames kQwenNames{
    .norm1 = "norm1", .norm2 = "norm2", .attention = "attn", .out = "proj", .qkv = "qkv", .q_norm = nullptr};

struct QwenKind {
  VisionDefaults defaults;
  VitOptions blocks;
  const char *merger_norm, *merger_first, *merger_second;
  bool patch_bias = false, windows = false, table = false;
  std::vector<int> deep = {};  // the default without deepstack_visual_indexes
};

VitNames with(VitNames names, const char* fc1, const char* fc2, const char* gate = nullptr) {
  names.fc1 = fc1;
  names.fc2 = fc2;
  names.gate = gate;
  return names;
}

const QwenKind kQwen2{{1280, 5120, 32, 16, kAnySize, 14, "quick_gelu"},
                      {.names = with(kQwenNames, "fc1", "fc2")},
                      "ln_q",
                      "mlp.0",
                      "mlp.2"};
const QwenKind kQwen25{{3584, 3420, 32, 16, kAnySize, 14, "silu"},
                       {.names = with(kQwenNames, nullptr, nullptr, "gate_proj"), .norm = NormKind::rms},
                       "ln_q",
                       "mlp.0",
                       "mlp.2",
                       false,
                       true};
const QwenKind kQwen3{{1152, 4304, 27, 16, kAnySize, 16, "gelu_pytorch_tanh"},
                      {.names = with(kQwenNames, "linear_fc1", "linear_fc2")},
                      "norm",
                      "linear_fc1",
                      "linear_fc2",
                      true,
                      false,
                      true,
                      {8, 16, 24}};
const QwenKind kQwen35 = [] {
  QwenKind kind = kQwen3;
  kind.deep.clear();
  return kind;
}();

struct QwenConfig : VisionConfig {
  int merge, out, table_side = 0, window = 0;
  std::vector<int> full, deep;  // indices of blocks: with full attention; whose output goes to the language model
};

std::vector<int> block_numbers(const Config& vision, const char* key, const Json& fallback, int layers) {
  const Json list = vision.has(key) ? vision.json()[key] : fallback;
  if (!list.is_array()) throw vision.bad(key, "must be a list");
  std::vector<int> all;
  for (const Json& one : list) {
    if (!one.is_number_unsigned() || one.get<uint64_t>() >= static_cast<uint64_t>(layers)) {
      throw vision.bad(key, fmt::format("must hold numbers of blocks below {}, got {}", layers, one.dump()));
    }
    all.push_back(one.get<int>());
  }
  return all;
}

QwenConfig read(const Config& config, const QwenKind& kind) {
  Config vision = vision_config(config);
  const bool first = vision.has("embed_dim");  // Qwen2-VL's own keys, where hidden_size is the language model's
  const int out = static_cast<int>(
      vision.integer_or(first ? "hidden_size" : "out_hidden_size", text_hidden_size(config, 3584), 1, 1 << 16));
  vision = with_keys(vision, {{"embed_dim", "hidden_size"},
                              {"depth", "num_hidden_layers"},
                              {"num_heads", "num_attention_heads"},
                              {"in_chans", "num_channels"},
                              {"in_channels", "num_channels"}});
  VisionDefaults defaults = kind.defaults;
  if (&kind == &kQwen2) {
    const int64_t wide = vision.integer_or("hidden_size", defaults.hidden_size, 1, 1 << 16);
    defaults.intermediate_size = static_cast<int>(double(wide) * vision.number_or("mlp_ratio", 4, 0.01, 64));
    Json json = vision.json();
    json.erase("intermediate_size");
    if (!first) json.erase("hidden_size");
    vision = Config(std::move(json), vision.place());
  }
  QwenConfig c{VisionConfig::read(vision, defaults)};
  c.eps = kQwenEps;
  if (c.head_dim % 4 != 0) {
    throw vision.bad("num_heads", fmt::format("must give heads of a multiple of 4, got {}", c.head_dim));
  }
  c.merge = static_cast<int>(vision.integer_or("spatial_merge_size", 2, 1, 16));
  c.out = out;
  if (kind.windows) {
    const int size = static_cast<int>(vision.integer_or("window_size", 112, 1, 1 << 16));
    c.window = size / c.merge / c.patch_size;
    if (c.window < 1) throw vision.bad("window_size", fmt::format("must hold a merged patch, got {}", size));
    c.full = block_numbers(vision, "fullatt_block_indexes", {7, 15, 23, 31}, c.num_hidden_layers);
  }
  if (kind.table) {
    const auto entries = vision.integer_or("num_position_embeddings", 2304, 1, 1 << 20);
    while (int64_t{c.table_side + 1} * (c.table_side + 1) <= entries) ++c.table_side;
    if (int64_t{c.table_side} * c.table_side != entries) {
      throw vision.bad("num_position_embeddings", fmt::format("must be a square, got {}", entries));
    }
    c.deep = block_numbers(vision, "deepstack_visual_indexes", Json(kind.deep), c.num_hidden_layers);
  }
  return c;
}

/// The order of merged patches window by window, with windows of equal size adjacent.
struct WindowOrder {
  std::vector<int> cells;  // row * columns + column of each
  std::vector<Segments> windows;
};

WindowOrder window_order(int rows, int columns, int window, int patches_a_cell) {
  std::map<int, std::vector<std::vector<int>>, std::greater<>> by_length;
  for (int top = 0; top < rows; top += window) {
    for (int left = 0; left < columns; left += window) {
      std::vector<int> cells;
      for (int row = top; row < std::min(rows, top + window); ++row) {
        for (int column = left; column < std::min(columns, left + window); ++column)
          cells.push_back(row * columns + column);
      }
      by_length[static_cast<int>(cells.size())].push_back(std::move(cells));
    }
  }
  WindowOrder order;
  for (const auto& [length, windows] : by_length) {
    order.windows.push_back({static_cast<int>(windows.size()), length * patches_a_cell});
    for (const auto& cells : windows) order.cells.insert(order.cells.end(), cells.begin(), cells.end());
  }
  return order;
}

/// Merges blocks of patches to one token each.
class Merger {
 public:
  Merger(const QwenConfig& c, const QwenKind& kind, const WeightPath& path, bool norm_last)
      : wide_(c.hidden_size * c.merge * c.merge),
        norm_last_(norm_last),
        norm_(make_norm(kind.blocks.norm, path / kind.merger_norm, norm_last ? wide_ : c.hidden_size, kQwenEps)),
        projector_(path, wide_, wide_, c.out, Activation::gelu, true, kind.merger_first, kind.merger_second) {}

  /// x [1, patches, hidden] → [1, tokens, out].
  mx::array operator()(const mx::array& x, std::vector<mx::array>& stages) const {
    const auto merged = [&](const mx::array& y) { return mx::reshape(y, {1, -1, wide_}); };
    return projector_(norm_last_ ? norm_(merged(x)) : merged(norm_(x)), stages);
  }

 private:
  int wide_;
  bool norm_last_;
  Norm norm_;
  Projector projector_;
};

class QwenEncoder : public MediaEncoder {
 public:
  QwenEncoder(const Config& config, const QwenConfig& c, const QwenKind& kind, const WeightPath& path)
      : type_(path.weights().activation_type()),
        c_(c),
        theta_(rope_theta(vision_config(config), 1e4)),
        patches_(patch_matrix(path / "patch_embed" / "proj", c, kind.patch_bias)),
        blocks_(c, kind.blocks, path / "blocks", c.num_hidden_layers),
        merger_(c, kind, path / "merger", false) {
    if (kind.table) table_ = take_table(path / "pos_embed", c.table_side * c.table_side, c.hidden_size);
    for (size_t i = 0; i < c.deep.size(); ++i) {
      deep_mergers_.emplace_back(c, kind, path / "deepstack_merger_list" / static_cast<int>(i), true);
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const PatchGrid grid = patch_grid(data, c_.merge);
    const int cell = c_.merge * c_.merge, rows = grid.rows / c_.merge, columns = grid.columns / c_.merge;
    std::vector<mx::array> stages;
    const mx::array pixels = mx::expand_dims(rows_of(data, patches_.in(), type_), 0);
    mx::array x = by_rows(pixels, flops_of(patches_), stages, patches_);
    std::vector<PatchPlace> places = merged_places(grid.rows, grid.columns, c_.merge);
    if (table_) x = mx::add(x, mx::astype(positions(grid, places), x.dtype()));

    WindowOrder order;
    if (c_.window > 0) {
      order = window_order(rows, columns, c_.window, cell);
      x = in_order(x, order.cells, cell);
      std::vector<PatchPlace> moved;
      for (const int from : order.cells) {
        for (int i = 0; i < cell; ++i) moved.push_back(places[static_cast<size_t>(from * cell + i)]);
      }
      places = std::move(moved);
    }
    const PatchRotation rotation(split_angles(places, c_.head_dim, theta_), grid.rows * grid.columns, Pairing::halves);
    const PatchOrder all{rotation}, windows{rotation, order.windows};

    EncodedMedia encoded{x, {}, std::move(stages)};
    const auto has = [](const std::vector<int>& numbers, int i) {
      return std::find(numbers.begin(), numbers.end(), i) != numbers.end();
    };
    for (int i = 0; i < c_.num_hidden_layers; ++i) {
      const bool local = c_.window > 0 && !has(c_.full, i);
      x = blocks_.blocks()[static_cast<size_t>(i)](x, local ? windows : all, encoded.stages);
      for (size_t k = 0; k < c_.deep.size(); ++k) {
        if (c_.deep[k] != i) continue;
        encoded.layer_features.push_back(without_batch(deep_mergers_[k](x, encoded.stages)));
        encoded.stages.push_back(encoded.layer_features.back());
      }
    }
    x = merger_(x, encoded.stages);
    if (c_.window > 0) {
      std::vector<int> back(order.cells.size());
      for (size_t i = 0; i < order.cells.size(); ++i) back[static_cast<size_t>(order.cells[i])] = static_cast<int>(i);
      x = in_order(x, back, 1);
    }
    encoded.features = without_batch(x);
    encoded.stages.push_back(encoded.features);
    return encoded;
  }

  std::optional<MediaPositions> positions(std::span<const int32_t> prompt,
                                          std::span<const MediaItem> items) const override {
    return mrope_positions(prompt, items, c_.merge);
  }

 private:
  /// x [1, L, dims] with its groups of `each` rows reordered by `groups`.
  static mx::array in_order(const mx::array& x, const std::vector<int>& groups, int each) {
    const int count = static_cast<int>(groups.size());
    const mx::array grouped = mx::reshape(x, {count, each, x.shape(2)});
    return mx::reshape(mx::take(grouped, mx::array(groups.data(), {count}, mx::int32), 0), x.shape());
  }
  /// The table for that grid, in the patches' order.
  mx::array positions(const PatchGrid& grid, const std::vector<PatchPlace>& places) const {
    std::vector<int> from;
    for (const auto& place : places) from.push_back(place.row * grid.columns + place.column);
    const mx::array sampled = resized_table(*table_, grid.rows, grid.columns, Resampling::bilinear_corners);
    return mx::take(sampled, mx::array(from.data(), {static_cast<int>(from.size())}, mx::int32), 0);
  }

  mx::Dtype type_;
  QwenConfig c_;
  double theta_;
  Linear patches_;
  Vit blocks_;
  Merger merger_;
  std::optional<mx::array> table_;
  std::vector<Merger> deep_mergers_;
};

std::unique_ptr<MediaEncoder> make(const Config& config, Weights& weights, const QwenKind& kind) {
  const WeightPath path = find_path(weights, {"visual", "model.visual", "vision_tower"}, "patch_embed.proj");
  return std::make_unique<QwenEncoder>(config, read(config, kind), kind, path);
}

}  // namespace

#define MLXK_QWEN_VISION(name, kind)                                                           \
  std::unique_ptr<MediaEncoder> make_##name##_vision(const Config& config, Weights& weights) { \
    return make(config, weights, kind);                                                        \
  }
MLXK_QWEN_VISION(qwen2_vl, kQwen2)
MLXK_QWEN_VISION(qwen2_5_vl, kQwen25)
MLXK_QWEN_VISION(qwen3_vl, kQwen3)
MLXK_QWEN_VISION(qwen3_vl_moe, kQwen3)
MLXK_QWEN_VISION(qwen3_5, kQwen35)
MLXK_QWEN_VISION(qwen3_5_moe, kQwen35)
#undef MLXK_QWEN_VISION

}  // namespace mlxk
