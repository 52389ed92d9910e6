#pragma once

#include <algorithm>
#include <vector>

#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/model.h"
#include "models/prompt_encoder.h"
#include "models/testing/golden_model.h"

/// Runs prompts with images through a model and its encoder, as the engine does.
namespace mlxk::golden {

/// The pixels of a test: numbers in [-1, 1) that depend on the image's name.
inline MediaData pixels(const Json& image) {
  MediaData data;
  data.shape = image["shape"].get<std::vector<int>>();
  data.grid = image["grid"].get<std::vector<int>>();
  if (image.value("kind", "image") == "audio") data.kind = MediaKind::audio;
  size_t count = 1;
  for (const int side : data.shape) count *= static_cast<size_t>(side);
  for (const uint32_t x : mixed_bits(image["name"], count)) {
    data.values.push_back(static_cast<float>(x >> 16) / 32768.0F - 1.0F);
  }
  return data;
}

/// A prompt whose images are encoded.
class VisionPrompt {
 public:
  VisionPrompt(const Model& model, std::vector<int> ids, const std::vector<MediaItem>& items)
      : ids_(std::move(ids)),
        length_(static_cast<int>(ids_.size())),
        embeddings_(model.embed(mx::array(ids_.begin(), {1, length_}, mx::int32))) {
    const MediaEncoder& encoder = *model.media_encoder();
    std::vector<mx::array> features;
    std::vector<std::vector<mx::array>> deep;
    std::vector<int> rows;
    for (const MediaItem& item : items) {
      EncodedMedia encoded = encoder.encode(*item.data);
      for (const mx::array& stage : encoded.stages) mx::eval(stage);
      if (encoder.is_attended_to()) {
        cross_media_.push_back({0, static_cast<int>(item.begin), encoded.features});
        count_ += encoded.features.shape(0);
        continue;
      }
      features.push_back(encoded.features);
      deep.resize(std::max(deep.size(), encoded.layer_features.size()));
      for (size_t i = 0; i < encoded.layer_features.size(); ++i) deep[i].push_back(encoded.layer_features[i]);
      for (int64_t i = item.begin; i < item.end; ++i) {
        if (ids_[static_cast<size_t>(i)] == item.placeholder) rows.push_back(static_cast<int>(i));
      }
    }
    if (rows.empty()) return;
    const mx::array at(rows.begin(), {1, static_cast<int>(rows.size()), 1}, mx::int32);
    const auto scattered = [&](const mx::array& into, const std::vector<mx::array>& all) {
      const mx::array joined = mx::expand_dims(mx::concatenate(all, 0), 0);
      return mx::put_along_axis(into, mx::broadcast_to(at, joined.shape()), joined, 1);
    };
    count_ = static_cast<int>(rows.size());
    embeddings_ = encoder.adds_to_tokens() ? mx::add(embeddings_, scattered(mx::zeros_like(embeddings_), features))
                                           : scattered(embeddings_, features);
    for (const auto& layer : deep) layer_features_.push_back(scattered(mx::zeros_like(embeddings_), layer));
    positions_ = encoder.positions(ids_, items);
    if (prompt_encoder(model)) encode_prompt(model, *prompt_encoder(model));
  }

  /// The inputs for tokens [begin, end).
  Inputs part(int begin, int end) const {
    const auto cut = [&](const mx::array& x) { return mx::slice(x, {0, begin, 0}, {1, end, x.shape(2)}); };
    Inputs inputs;
    inputs.ids = mx::array(ids_.begin() + begin, {1, end - begin}, mx::int32);
    inputs.embeddings = cut(embeddings_);
    for (const auto& features : layer_features_) inputs.layer_features.push_back(cut(features));
    if (positions_) {
      const mx::array all(positions_->axes.begin(), {3, 1, length_}, mx::int32);
      inputs.positions = mx::slice(all, {0, 0, begin}, {3, 1, end});
    }
    for (const CrossMedia& media : cross_media_) {
      if ((media.token >= begin && media.token < end) || (media.token < 0 && begin == 0)) {
        inputs.cross_media.push_back({0, media.token - begin, media.features});
      }
    }
    for (const auto& range : ranges) inputs.ranges.push_back({0, range.first, range.second});
    inputs.last_only = true;
    return inputs;
  }

  int length() const { return length_; }
  int features() const { return count_; }
  int shift() const { return positions_ ? positions_->shift : 0; }
  bool has_positions() const { return positions_.has_value(); }

  std::vector<std::pair<int, int>> ranges;  // tokens that see each other

 private:
  /// What is left for the decoder is its first token.
  void encode_prompt(const Model& model, const PromptEncoder& encoder) {
    const EncodedMedia encoded = encoder.encode_prompt(embeddings_);
    for (const mx::array& stage : encoded.stages) mx::eval(stage);
    cross_media_ = {{0, -1, encoded.features}};
    ids_ = {encoder.decoder_start_token()};
    length_ = 1;
    embeddings_ = model.embed(mx::array(ids_.begin(), {1, length_}, mx::int32));
  }

  std::vector<int> ids_;
  int length_, count_ = 0;
  mx::array embeddings_;
  std::vector<mx::array> layer_features_;
  std::vector<CrossMedia> cross_media_;
  std::optional<MediaPositions> positions_;
};

}  // namespace mlxk::golden
