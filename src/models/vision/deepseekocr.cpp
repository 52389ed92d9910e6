// DeepSeek-OCR (https://arxiv.org/abs/2510.18234): SAM over the whole image and its tiles, CLIP over SAM's features,
// and a matrix over the concatenation of both. A learned vector ends each row of tokens, another ends the image. Values
// and grid are as in vision/deepseekocr.cpp.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "models/vision/position_table.h"
#include "models/vision/sam.h"
#include "models/vision/shuffle.h"
#include "models/vision/vit.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kClipLarge224{1024, 4096, 24, 16, 224, 14, "quick_gelu", 1e-5};
constexpr VitOptions kClipBlocks{.names = {.qkv = "qkv_proj"}};

/// The object in `vision` with the sizes of the tower `name`; empty: none.
Config tower(const Config& vision, const char* name) {
  if (vision.has("width") && vision.json()["width"].is_object()) {
    const Config towers = vision.object("width");
    if (towers.has(name)) return towers.object(name);
  }
  return Config(Json::object(), vision.place() + " " + name);
}

VisionConfig read_clip(const Config& config) {
  const Config said =
      with_keys(tower(vision_config(config), "clip-l-14-224"),
                {{"width", "hidden_size"}, {"layers", "num_hidden_layers"}, {"heads", "num_attention_heads"}});
  Json json = said.json();
  if (said.has("hidden_size")) json["intermediate_size"] = 4 * said.integer("hidden_size", 1, 1 << 16);
  return VisionConfig::read(Config(std::move(json), said.place()), kClipLarge224);
}

SamConfig read_sam(const Config& config) {
  const Config said = tower(vision_config(config), "sam_vit_b");
  SamConfig c;
  c.layers = static_cast<int>(said.integer_or("layers", c.layers, 1, 1024));
  c.heads = static_cast<int>(said.integer_or("heads", c.heads, 1, 1024));
  const Json* global = said.find("global_attn_indexes");
  if (!global) return c;
  if (!global->is_array()) throw said.bad("global_attn_indexes", "must be a list");
  c.global_layers.clear();
  for (const Json& layer : *global) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= static_cast<uint64_t>(c.layers)) {
      throw said.bad("global_attn_indexes",
                     fmt::format("must hold numbers of layers below {}, got {}", c.layers, layer.dump()));
    }
    c.global_layers.push_back(layer.get<int>());
  }
  return c;
}

class DeepSeekOcrEncoder : public MediaEncoder {
 public:
  DeepSeekOcrEncoder(const Config& config, Weights& weights, const WeightPath& root, const WeightPath& clip)
      : type_(weights.activation_type()),
        c_(read_clip(config)),
        sam_(read_sam(config), root / "sam_model"),
        class_((clip / "embeddings").take("class_embedding", {c_.hidden_size})),
        positions_(take_table(clip / "embeddings" / "position_embedding", c_.grid() * c_.grid() + 1, c_.hidden_size)),
        norm_(clip / "pre_layrnorm", c_.hidden_size, c_.eps),
        blocks_(c_, kClipBlocks, clip / "transformer" / "layers", c_.num_hidden_layers),
        out_(text_hidden_size(config, 1280)),
        projector_(root / "projector" / "layers", c_.hidden_size + sam_.out(), out_, true),
        row_end_(root.take("image_newline", {out_})),
        // Published files have the misspelt name.
        end_(root.take(root.has("view_seperator") ? "view_seperator" : "view_separator", {out_})) {
    if (sam_.out() != c_.hidden_size) {
      weights.note(fmt::format("{} must give vectors of {} numbers, got {}", (root / "sam_model").path(),
                               c_.hidden_size, sam_.out()));
    }
    const std::string unused = (clip / "embeddings" / "patch_embedding").path() + ".";  // SAM computes the patches
    weights.take_unused([&](const std::string& name) { return name.starts_with(unused); });
  }

  EncodedMedia encode(const MediaData& data) const override {
    const int base = grid_number(data, 0), side = grid_number(data, 1);
    const int columns = grid_number(data, 2, 64), rows = grid_number(data, 3, 64), count = rows * columns;
    const auto pixels = [](int size) { return size_t(size) * size_t(size) * 3; };
    const size_t all = pixels(base) + (count > 1 ? pixels(side) * size_t(count) : 0);
    if (data.shape != std::vector<int>{static_cast<int>(all)} || data.values.size() != all) {
      throw unfit_media(fmt::format("an image of {0} × {0} pixels with {1} × {2} tiles has {3} values, got {4}", base,
                                    rows, columns, all, data.values.size()));
    }
    std::vector<mx::array> stages, tiles;
    const auto image = [&](size_t from, int size) {
      return mx::astype(mx::array(data.values.data() + from, {1, size, size, 3}, mx::float32), type_);
    };
    const mx::array end = mx::astype(row_end_, type_);
    std::vector<mx::array> features;
    if (count > 1) {
      for (int i = 0; i < count; ++i)
        tiles.push_back(see(image(pixels(base) + pixels(side) * size_t(i), side), stages));
      features.push_back(with_row_ends(sheet_of(tiles, rows, columns, tokens(side)), end));
    }
    const mx::array whole = see(image(0, base), stages);
    features.push_back(with_row_ends(sheet_of({whole}, 1, 1, tokens(base)), end));
    features.push_back(mx::expand_dims(mx::astype(end_, type_), 0));
    return {below_each_other(features), {}, std::move(stages)};
  }

 private:
  /// The tokens of `side` pixels. Throws invalid if `side` is not a multiple of the stride.
  int tokens(int side) const {
    if (side % sam_.stride() == 0) return side / sam_.stride();
    throw unfit_media(fmt::format("sides must be multiples of {} pixels, got {}", sam_.stride(), side));
  }

  /// Features [1, tokens², out] of pixels [1, S, S, 3].
  mx::array see(const mx::array& pixels, std::vector<mx::array>& stages) const {
    const int side = tokens(pixels.shape(1)), patches = side * side;
    const mx::array seen = mx::reshape(sam_(pixels, stages), {1, patches, sam_.out()});
    stages.push_back(seen);
    const mx::array first = mx::reshape(mx::astype(class_, type_), {1, 1, c_.hidden_size});
    mx::array x = mx::add(mx::concatenate({first, seen}, 1), mx::astype(positions(side), type_));
    x = blocks_(norm_(x), {}, stages);
    x = projector_(mx::concatenate({mx::slice(x, {0, 1, 0}, x.shape()), seen}, 2));
    stages.push_back(x);
    return x;
  }

  mx::array positions(int side) const {
    const mx::array first = mx::slice(positions_, {0, 0}, {1, c_.hidden_size});
    const mx::array table = mx::slice(positions_, {1, 0}, positions_.shape());
    return mx::concatenate(
        {mx::astype(first, mx::float32), resized_table(table, side, side, Resampling::bicubic_antialias)}, 0);
  }

  mx::Dtype type_;
  VisionConfig c_;
  Sam sam_;
  mx::array class_, positions_;
  LayerNorm norm_;
  Vit blocks_;
  int out_;
  Linear projector_;
  mx::array row_end_, end_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_deepseekocr_vision(const Config& config, Weights& weights) {
  const bool nested = weights.has("model.image_newline");
  return std::make_unique<DeepSeekOcrEncoder>(
      config, weights, nested ? WeightPath(weights, "model") : WeightPath(weights),
      find_path(weights, {"model.vision_model", "vision_model"}, "embeddings.position_embedding"));
}

}  // namespace mlxk
