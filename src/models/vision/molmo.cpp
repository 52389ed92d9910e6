// Molmo (https://arxiv.org/abs/2409.17146): the states of two layers of CLIP's tower over overlapping crops; a learned
// vector for patches that are padding; 2 × 2 patches pooled by attention with their mean as the query; a gated MLP. The
// features are added to the vectors of their tokens. Shape and grid are as in vision/molmo.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/vit.h"
#include "nn/encoder_attention.h"

namespace mlxk {
namespace {

constexpr int kPool = 2;
constexpr int kChosen[] = {-2, -9};  // states, counted from the end; -1, the last layer's, is not used
constexpr VisionDefaults kClipLarge{1024, 4096, 23, 16, 336, 14, "quick_gelu", 1e-5};

struct MolmoConfig : VisionConfig {
  int patches, wide, out;  // patches per crop; width of the projector; hidden size of the text model
};

MolmoConfig read_molmo(const Config& config) {
  Json json = with_keys(vision_config(config), {{"image_mlp_dim", "intermediate_size"},
                                                {"image_emb_dim", "hidden_size"},
                                                {"image_num_layers", "num_hidden_layers"},
                                                {"image_num_heads", "num_attention_heads"},
                                                {"image_patch_size", "patch_size"},
                                                {"image_norm_eps", "layer_norm_eps"}})
                  .json();
  const Config said(json, config.place() + " vision_config");
  const Config text = config.has("text_config") ? config.object("text_config") : config;
  // mlx-vlm writes the projector's hidden_size and intermediate_size, and a GELU that the model was not trained with.
  if (!said.has("image_emb_dim")) json.erase("hidden_size");
  if (!said.has("image_mlp_dim")) json.erase("intermediate_size");
  json.erase("hidden_act");
  MolmoConfig c{VisionConfig::read(Config(json, said.place()), kClipLarge)};
  c.patches = static_cast<int>(said.integer_or("image_num_pos", 577, 5, 1 << 20)) - 1;
  const char* hidden = text.has("d_model") ? "d_model" : "hidden_size";
  c.out = static_cast<int>(text.integer_or(hidden, 3584, 1, 1 << 20));
  const char* wide = text.has("mlp_hidden_size") ? "mlp_hidden_size" : "intermediate_size";
  c.wide = static_cast<int>(text.integer_or(wide, 37888, 2, 1 << 20)) / 2;
  const int side = static_cast<int>(std::lround(std::sqrt(c.patches)));
  if (side * side != c.patches || side % kPool != 0) {
    throw said.bad("image_num_pos", fmt::format("must be one more than an even square, got {}", c.patches + 1));
  }
  if (c.num_hidden_layers < -kChosen[1]) {
    throw said.bad("image_num_layers", fmt::format("must be {} or more, got {}", -kChosen[1], c.num_hidden_layers));
  }
  return c;
}

constexpr VitOptions kMolmoBlocks{.names = {.norm1 = "attention_norm",
                                            .norm2 = "ffn_norm",
                                            .attention = "attention",
                                            .q = "wq",
                                            .k = "wk",
                                            .v = "wv",
                                            .out = "wo",
                                            .mlp = "feed_forward",
                                            .fc1 = "w1",
                                            .fc2 = "w2"}};

class MolmoEncoder : public MediaEncoder {
 public:
  MolmoEncoder(const MolmoConfig& c, Weights& weights, const WeightPath& path)
      : MolmoEncoder(c, weights, path, path / "image_vit", path / "image_pooling_2d", 2 * c.hidden_size) {}

  EncodedMedia encode(const MediaData& data) const override {
    const int crops = grid_number(data, 0), side = static_cast<int>(std::lround(std::sqrt(c_.patches)));
    const int pooled = c_.patches / (kPool * kPool), row = c_.patch_size * c_.patch_size * c_.channels;
    const auto numbers = 1 + static_cast<size_t>(crops) * static_cast<size_t>(pooled + c_.patches);
    if (data.shape != std::vector<int>{crops, c_.patches, row} || data.grid.size() != numbers ||
        data.values.size() != static_cast<size_t>(crops) * static_cast<size_t>(c_.patches) * static_cast<size_t>(row)) {
      throw unfit_media(fmt::format("{} crops of {} patches with {} values each and {} grid numbers are needed", crops,
                                    c_.patches, row, numbers));
    }
    if (std::any_of(data.grid.begin() + 1 + crops * pooled, data.grid.end(), [](int n) { return n < 0 || n > 2; })) {
      throw unfit_media("the padding of patches must be 0, 1 or 2");
    }
    const mx::array all = mx::astype(mx::array(data.values.data(), {crops, c_.patches, row}, mx::float32), type_);
    const mx::array padding(data.grid.data() + 1 + crops * pooled, {crops, c_.patches, 1}, mx::int32);
    std::vector<mx::array> features, stages;
    for (int crop = 0; crop < crops; ++crop) {
      const auto own = [&](const mx::array& x) {
        return mx::slice(x, {crop, 0, 0}, {crop + 1, x.shape(1), x.shape(2)});
      };
      features.push_back(pool(embed_padding(states(own(all), stages), own(padding)), side, stages));
      stages.push_back(features.back());
    }
    const mx::array found = mx::take(mx::concatenate(features, 0), order(data, crops * pooled), 0);
    return {found, {}, std::move(stages)};
  }

  bool adds_to_tokens() const override { return true; }

 private:
  MolmoEncoder(const MolmoConfig& c, Weights& weights, const WeightPath& path, const WeightPath& tower,
               const WeightPath& pooling, int chosen)
      : type_(weights.activation_type()),
        c_(c),
        class_(tower.take("class_embedding", {c.hidden_size})),
        positions_(tower.take("positional_embedding", {c.patches + 1, c.hidden_size})),
        patches_(tower / "patch_embedding", c.patch_size * c.patch_size * c.channels, c.hidden_size),
        norm_(tower / "pre_ln", c.hidden_size, c.eps),
        blocks_(c, kMolmoBlocks, tower / "transformer" / "resblocks", c.num_hidden_layers - 1),
        padding_(path.take("pad_embed", {2, chosen})),
        q_(pooling / "wq", chosen, c.hidden_size, true),
        k_(pooling / "wk", chosen, c.hidden_size, true),
        v_(pooling / "wv", chosen, c.hidden_size, true),
        pooled_(pooling / "wo", c.hidden_size, c.hidden_size, true),
        gated_{std::nullopt,
               Linear(path / "image_projector" / "w1", c.hidden_size, c.wide),
               Linear(path / "image_projector" / "w3", c.hidden_size, c.wide),
               Linear(path / "image_projector" / "w2", c.wide, c.out),
               std::nullopt,
               Activation::silu} {
    const std::string last = (tower / "transformer" / "resblocks" / (c.num_hidden_layers - 1)).path() + ".";
    weights.take_unused([&](const std::string& name) { return name.starts_with(last); });
  }

  /// The chosen states of a crop's patches [1, patches, row], concatenated.
  mx::array states(const mx::array& rows, std::vector<mx::array>& stages) const {
    const mx::array first = mx::astype(mx::reshape(class_, {1, 1, c_.hidden_size}), type_);
    mx::array x = mx::concatenate({first, patches_(rows)}, 1);
    const auto all = blocks_.states(norm_(mx::add(x, mx::astype(positions_, type_))), {}, stages);
    std::vector<mx::array> chosen;
    for (const int i : kChosen) {
      const mx::array& state = all[static_cast<size_t>(c_.num_hidden_layers + 1 + i)];
      chosen.push_back(mx::slice(state, {0, 1, 0}, state.shape()));
    }
    return mx::concatenate(chosen, 2);
  }

  /// Adds the padding vectors to x. `padding` [1, patches, 1] has indices into padding_, or 2 for none.
  mx::array embed_padding(const mx::array& x, const mx::array& padding) const {
    const mx::array none = mx::zeros({1, padding_.shape(1)}, padding_.dtype());
    const mx::array table = mx::concatenate({padding_, none}, 0);
    return mx::add(x, mx::astype(mx::take(table, mx::squeeze(padding, 2), 0), x.dtype()));
  }

  /// Features [pooled patches, hidden] of a crop's patches [1, side², width].
  mx::array pool(const mx::array& x, int side, std::vector<mx::array>& stages) const {
    const int half = side / kPool, width = x.shape(2), count = half * half;
    const mx::array blocks = mx::transpose(mx::reshape(x, {half, kPool, half, kPool, width}), {0, 2, 1, 3, 4});
    const mx::array seen = mx::reshape(blocks, {count, kPool * kPool, width});
    const mx::array query = mx::mean(seen, 1, true);
    const mx::array y = pooled_(attend_to_all(q_(query), k_(seen), v_(seen), c_.num_attention_heads,
                                              1 / std::sqrt(static_cast<float>(c_.head_dim))));
    return without_batch(by_rows(mx::reshape(y, {1, count, -1}), 3 * flops_of(gated_.down), stages,
                                 [&](const mx::array& rows) { return gated_.inner(rows); }));
  }

  /// The index of each token's pooled patch.
  static mx::array order(const MediaData& data, int pooled) {
    std::vector<int32_t> patch(static_cast<size_t>(pooled), -1);
    size_t tokens = 0;
    for (int i = 0; i < pooled; ++i) {
      const int token = data.grid[static_cast<size_t>(1 + i)];
      if (token < 0) continue;
      if (token >= pooled || patch[static_cast<size_t>(token)] >= 0) {
        throw unfit_media(fmt::format("token {} of the grid stands for two patches or is out of range", token));
      }
      patch[static_cast<size_t>(token)] = i;
      ++tokens;
    }
    patch.resize(tokens);
    if (tokens == 0 || std::count(patch.begin(), patch.end(), -1) > 0) {
      throw unfit_media("each token of the grid must stand for a patch");
    }
    return mx::array(patch.data(), {static_cast<int>(tokens)}, mx::int32);
  }

  mx::Dtype type_;
  MolmoConfig c_;
  mx::array class_, positions_;
  Linear patches_;
  LayerNorm norm_;
  Vit blocks_;
  mx::array padding_;
  Linear q_, k_, v_, pooled_;
  GatedMlpResidual gated_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_molmo_vision(const Config& config, Weights& weights) {
  return std::make_unique<MolmoEncoder>(
      read_molmo(config), weights,
      find_path(weights, {"model.vision_backbone", "vision_tower"}, "image_vit.patch_embedding"));
}

}  // namespace mlxk
