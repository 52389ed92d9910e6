// LLaVA (https://arxiv.org/abs/2304.08485), with Pixtral's tower too, and LLaVA-NeXT: chosen states of a tower, and two
// matrices. Pixels are [tiles, H, W, 3]; LLaVA-NeXT's first tile is the whole image, the others follow row by row, and
// its grid is {rows, columns, height, width}: of tiles, and of the original image.
#include <fmt/format.h>

#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"
#include "models/vision/shuffle.h"

namespace mlxk {
namespace {

class LlavaEncoder : public MediaEncoder {
 public:
  LlavaEncoder(const Config& config, Weights& weights, const std::string& strategy)
      : type_(weights.activation_type()),
        tower_(config, weights, -2, strategy),
        projector_(find_projector(weights, "linear_1"), tower_.width(), text_hidden_size(config, 4096),
                   text_hidden_size(config, 4096), projector_activation(config),
                   config.flag_or("multimodal_projector_bias", true)) {}

  EncodedMedia encode(const MediaData& data) const override {
    std::vector<mx::array> stages;
    const std::vector<mx::array> tiles = encode_tiles(data, stages);
    std::vector<mx::array> features;
    for (const mx::array& tile : tiles) features.push_back(without_batch(tile));
    return {below_each_other(features), {}, std::move(stages)};
  }

 protected:
  /// One per tile, [1, L, hidden].
  std::vector<mx::array> encode_tiles(const MediaData& data, std::vector<mx::array>& stages) const {
    std::vector<mx::array> all;
    for (const mx::array& tile : images_of(data, tower_.config().channels, type_)) {
      all.push_back(projector_(tower_(tile, stages), stages));
      stages.push_back(all.back());
    }
    return all;
  }

  mx::Dtype type_;
  ChosenStates tower_;
  Projector projector_;
};

class LlavaNextEncoder : public LlavaEncoder {
 public:
  LlavaNextEncoder(const Config& config, Weights& weights)
      : LlavaEncoder(config, weights, "default"),
        newline_(find_path(weights, {"", "model"}, "image_newline")
                     .take("image_newline", {text_hidden_size(config, 4096)})) {}

  EncodedMedia encode(const MediaData& data) const override {
    const int rows = grid_number(data, 0), columns = grid_number(data, 1);
    const int height = grid_number(data, 2, 1 << 24), width = grid_number(data, 3, 1 << 24);
    if (data.shape.empty() || data.shape[0] != 1 + rows * columns) {
      throw unfit_media(fmt::format("{} × {} tiles and the whole image are needed", rows, columns));
    }
    std::vector<mx::array> stages;
    const std::vector<mx::array> tiles = encode_tiles(data, stages);
    const int side = tower_.config().grid();
    if (tiles.front().shape(1) != side * side) throw unfit_media("vision_feature_select_strategy must be default");
    const mx::array sheet =
        without_padding(sheet_of({tiles.begin() + 1, tiles.end()}, rows, columns, side), height, width);
    return {below_each_other({without_batch(tiles.front()), with_row_ends(sheet, newline_)}), {}, std::move(stages)};
  }

 private:
  /// Cuts off the padding that gave an image of `height` × `width` pixels the sheet's proportions.
  static mx::array without_padding(const mx::array& sheet, int height, int width) {
    const int rows = sheet.shape(0), columns = sheet.shape(1), dims = sheet.shape(2);
    const auto padding = [](int have, double scaled) {
      return (have - static_cast<int>(std::round(scaled * 1e7) / 1e7)) / 2;
    };
    if (double(width) / height > double(columns) / rows) {
      const int cut = padding(rows, height * (double(columns) / width));
      return mx::slice(sheet, {cut, 0, 0}, {rows - cut, columns, dims});
    }
    const int cut = padding(columns, width * (double(rows) / height));
    return mx::slice(sheet, {0, cut, 0}, {rows, columns - cut, dims});
  }

  mx::array newline_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_pixtral_vision(const Config& config, Weights& weights) {
  Json json = config.json();
  if (!config.has("vision_feature_layer")) json["vision_feature_layer"] = -1;
  if (!config.has("vision_config")) json["vision_config"] = Json::object();
  json["vision_config"]["model_type"] = "pixtral";
  return std::make_unique<LlavaEncoder>(Config(std::move(json), config.place()), weights, "full");
}

std::unique_ptr<MediaEncoder> make_llava_vision(const Config& config, Weights& weights) {
  const bool pixtral = vision_config(config).text_or("model_type", "") == "pixtral";
  if (!pixtral || config.has("vision_feature_layer")) return std::make_unique<LlavaEncoder>(config, weights, "default");
  return make_pixtral_vision(config, weights);
}

std::unique_ptr<MediaEncoder> make_llava_next_vision(const Config& config, Weights& weights) {
  return std::make_unique<LlavaNextEncoder>(config, weights);
}

}  // namespace mlxk
