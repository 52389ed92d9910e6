// Llama 3.2 Vision's tower (transformers' mllama): the tiles of an image, each with a class vector, through blocks and
// then through gated ones, together with empty tiles up to the most that an image has. Positions depend on the grid of
// tiles. The language model's layers attend to the last states beside some earlier ones. Pixels are [tiles, size, size,
// 3], grid {rows, columns}. As in Meta's own code (llama-models), entry i of intermediate_layers_indices is the state
// before block i; transformers 5 takes the one after it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/vit.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kMllama{1280, 5120, 32, 16, 448, 14, "gelu", 1e-5};
constexpr VitNames kNames{.norm1 = "input_layernorm", .norm2 = "post_attention_layernorm", .out = "o_proj"};
constexpr VitNames kGatedNames{.norm1 = "input_layernorm",
                               .norm2 = "post_attention_layernorm",
                               .out = "o_proj",
                               .scale1 = "gate_attn",
                               .scale2 = "gate_ffn"};

VitOptions blocks(const VitNames& names) {
  return {.names = names, .gates = true, .qkv_bias = false, .out_bias = false};
}

struct MllamaVisionConfig : VisionConfig {
  int global_layers, tiles;
  std::vector<int> chosen;                 // states beside the last
  std::vector<std::pair<int, int>> grids;  // rows and columns of tiles

  int patches() const { return grid() * grid() + 1; }  // of a tile, with the class vector
  /// Empty vectors after each tile's patches, up to a multiple of eight.
  int empty() const { return (8 - patches() % 8) % 8; }
  int width() const { return hidden_size * (1 + static_cast<int>(chosen.size())); }
};

MllamaVisionConfig read_mllama_vision(const Config& config) {
  const Config vision =
      with_keys(vision_config(config), {{"attention_heads", "num_attention_heads"}, {"norm_eps", "layer_norm_eps"}});
  MllamaVisionConfig c{VisionConfig::read(vision, kMllama)};
  c.global_layers = static_cast<int>(vision.integer_or("num_global_layers", 8, 1, 1024));
  c.tiles = static_cast<int>(vision.integer_or("max_num_tiles", 4, 1, 64));
  const auto list = [&](const char* key, Json usual) {
    const Json* given = vision.find(key);
    if (given && !given->is_array()) throw vision.bad(key, "must be a list");
    return given ? *given : usual;
  };
  for (const Json& state : list("intermediate_layers_indices", {3, 7, 15, 23, 30})) {
    if (!state.is_number_unsigned() || state.get<uint64_t>() > static_cast<uint64_t>(c.num_hidden_layers)) {
      throw vision.bad("intermediate_layers_indices",
                       fmt::format("must hold numbers up to {}, got {}", c.num_hidden_layers, state.dump()));
    }
    c.chosen.push_back(state.get<int>());
  }
  Json usual = Json::array();
  for (int rows = 1; rows <= c.tiles; ++rows) {
    for (int columns = 1; rows * columns <= c.tiles; ++columns) usual.push_back({rows, columns});
  }
  for (const Json& grid : list("supported_aspect_ratios", usual)) {
    const auto side = [&](size_t i) {
      return grid.is_array() && grid.size() == 2 && grid[i].is_number_unsigned() ? grid[i].get<uint64_t>() : 0;
    };
    const uint64_t rows = side(0), columns = side(1), most = static_cast<uint64_t>(c.tiles);
    if (rows < 1 || columns < 1 || rows > most || columns > most || rows * columns > most) {
      throw vision.bad("supported_aspect_ratios",
                       fmt::format("must hold rows and columns of at most {} tiles, got {}", c.tiles, grid.dump()));
    }
    c.grids.emplace_back(static_cast<int>(rows), static_cast<int>(columns));
  }
  const auto width = vision.integer_or("vision_output_dim", c.width(), 1, 1 << 24);
  if (width != c.width()) {
    throw vision.bad("vision_output_dim", fmt::format("must be hidden_size for each of {} states, {}, got {}",
                                                      1 + c.chosen.size(), c.width(), width));
  }
  return c;
}

mx::array as(const mx::array& x, const mx::array& like) { return mx::astype(x, like.dtype()); }

/// For each grid of tiles a vector of each tile.
class TileTable {
 public:
  TileTable(const MllamaVisionConfig& c, const WeightPath& path, int numbers)
      : tiles_(c.tiles), table_(path, static_cast<int>(c.grids.size()) + 1, c.tiles * numbers) {}
  /// The vectors of grid `id`: [tiles, numbers].
  mx::array operator()(int id) const { return mx::reshape(table_(mx::array({id})), {tiles_, -1}); }

 private:
  int tiles_;
  Embedding table_;
};

class MllamaEncoder : public MediaEncoder {
 public:
  MllamaEncoder(const Config& config, const MllamaVisionConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        patches_(patch_conv(path / "patch_embedding", c.channels, c.hidden_size, c.patch_size, false)),
        class_(path.take("class_embedding", {c.hidden_size})),
        positions_((path / "gated_positional_embedding").take("embedding", {c.patches(), c.hidden_size})),
        position_gate_(mx::tanh((path / "gated_positional_embedding").take("gate", {1}))),
        tile_positions_(c, path / "gated_positional_embedding" / "tile_embedding", c.patches() * c.hidden_size),
        before_(c, path / "pre_tile_positional_embedding" / "embedding", c.hidden_size),
        before_gate_(mx::tanh((path / "pre_tile_positional_embedding").take("gate", {1}))),
        after_(c, path / "post_tile_positional_embedding" / "embedding", c.hidden_size),
        after_gate_(mx::tanh((path / "post_tile_positional_embedding").take("gate", {1}))),
        first_norm_(path / "layernorm_pre", c.hidden_size, 1e-5F),
        local_(c, blocks(kNames), path / "transformer" / "layers", c.num_hidden_layers),
        norm_(path / "layernorm_post", c.hidden_size, 1e-5F),
        global_(c, blocks(kGatedNames), path / "global_transformer" / "layers", c.global_layers),
        projection_(find_path(weights, {"multi_modal_projector", "model.multi_modal_projector"}, "weight"), c.width(),
                    text_hidden_size(config, 4096), true) {}

  EncodedMedia encode(const MediaData& data) const override {
    const std::vector<mx::array> pixels = images_of(data, c_.channels, type_);
    const int tiles = static_cast<int>(pixels.size()), id = grid_id(data, tiles), hidden = c_.hidden_size;
    const mx::array embedded = embed(pixels, id);
    // The tiles of the image, then what is not of it: empty tiles, and the empty vectors of all tiles.
    const int real = tiles * c_.patches(), count = c_.tiles * (c_.patches() + c_.empty());
    const PatchOrder order{.padding = count - real};
    std::vector<int> tile_of;
    for (int i = 0; i < c_.tiles * c_.patches(); ++i) tile_of.push_back(i / c_.patches());
    for (int i = 0; i < c_.tiles * c_.empty(); ++i) tile_of.push_back(i / c_.empty());

    std::vector<mx::array> stages;
    mx::array x = mx::concatenate({embedded, mx::zeros({1, c_.tiles * c_.empty(), hidden}, embedded.dtype())}, 1);
    const std::vector<mx::array> states = local_.states(x, order, stages);
    const mx::array tile_vectors = as(mx::multiply(after_(id), after_gate_), x);
    x = mx::add(norm_(states.back()), mx::take(tile_vectors, mx::array(tile_of.data(), {count}, mx::int32), 0));
    x = global_(x, order, stages);

    const auto of_image = [&](const mx::array& y) { return mx::slice(y, {0, 0, 0}, {1, real, hidden}); };
    std::vector<mx::array> chosen;
    for (const int i : c_.chosen) chosen.push_back(of_image(states[static_cast<size_t>(i)]));
    mx::array wide = of_image(x);
    if (!chosen.empty()) wide = mx::concatenate({wide, mx::flatten(mx::stack(chosen, -1), 2, 3)}, 2);
    return {project(wide, stages), {}, std::move(stages)};
  }

  bool is_attended_to() const override { return true; }

 private:
  /// The number of the image's grid of tiles; 0 is none. Throws invalid unless the tower has vectors for it.
  int grid_id(const MediaData& data, int tiles) const {
    const int rows = grid_number(data, 0), columns = grid_number(data, 1), side = c_.grid() * c_.patch_size;
    const auto found = std::find(c_.grids.begin(), c_.grids.end(), std::pair(rows, columns));
    if (found == c_.grids.end() || rows * columns != tiles) {
      throw unfit_media(fmt::format("{} tiles in a grid of {} × {} do not fit this tower", tiles, rows, columns));
    }
    if (data.shape[1] != side || data.shape[2] != side) {
      throw unfit_media(
          fmt::format("a tile must have {0} × {0} pixels, got {1} × {2}", side, data.shape[1], data.shape[2]));
    }
    return static_cast<int>(found - c_.grids.begin()) + 1;
  }

  /// The patches of all tiles with their positions, normed: [1, tiles * patches, hidden].
  mx::array embed(const std::vector<mx::array>& pixels, int id) const {
    const int patches = c_.grid() * c_.grid(), hidden = c_.hidden_size;
    const mx::array ungated =
        mx::multiply(mx::subtract(mx::array(1.0F, positions_.dtype()), position_gate_), positions_);
    const mx::array positions = mx::add(
        ungated, mx::multiply(mx::reshape(tile_positions_(id), {c_.tiles, patches + 1, hidden}), position_gate_));
    const mx::array tile_vectors = mx::multiply(before_(id), before_gate_);
    std::vector<mx::array> all;
    for (int tile = 0; tile < c_.tiles; ++tile) {
      const mx::array own = tile < static_cast<int>(pixels.size())
                                ? mx::reshape(patches_(pixels[static_cast<size_t>(tile)]), {1, patches, hidden})
                                : mx::zeros({1, patches, hidden}, type_);
      const mx::array x = mx::add(own, as(mx::reshape(mx::take(tile_vectors, tile, 0), {1, 1, hidden}), own));
      const mx::array first = as(mx::reshape(class_, {1, 1, hidden}), own);
      all.push_back(mx::add(mx::concatenate({first, x}, 1), as(mx::expand_dims(mx::take(positions, tile, 0), 0), own)));
    }
    return first_norm_(all.size() == 1 ? all.front() : mx::concatenate(all, 1));
  }

  /// x [1, L, width] → [L, hidden of the language model].
  mx::array project(const mx::array& x, std::vector<mx::array>& stages) const {
    return without_batch(by_rows(x, 2.0 * projection_.in() * projection_.out(), stages, projection_));
  }

  mx::Dtype type_;
  MllamaVisionConfig c_;
  Conv2d patches_;
  mx::array class_, positions_, position_gate_;
  TileTable tile_positions_, before_;
  mx::array before_gate_;
  TileTable after_;
  mx::array after_gate_;
  LayerNorm first_norm_;
  Vit local_;
  LayerNorm norm_;
  Vit global_;
  Linear projection_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_mllama_vision(const Config& config, Weights& weights) {
  const WeightPath path = find_path(
      weights, {"vision_model", "model.vision_model", "vision_tower", "model.vision_tower"}, "patch_embedding");
  return std::make_unique<MllamaEncoder>(config, read_mllama_vision(config), weights, path);
}

}  // namespace mlxk
