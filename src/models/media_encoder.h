#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mlx/array.h"
#include "nn/config.h"
#include "nn/weights.h"
#include "worker/media.h"

namespace mlxk {

namespace mx = mlx::core;

/// The encoder's output for one image or recording. All arrays are lazy.
struct EncodedMedia {
  mx::array features;                          // [tokens, hidden], a row for each placeholder token unless attended to
  std::vector<mx::array> layer_features = {};  // [tokens, hidden], entry i is added to the decoder's layer i
  // Intermediate arrays. The engine evaluates them one after the other, between steps of other requests, so no stretch
  // between two of them may be long.
  std::vector<mx::array> stages = {};
};

/// Positions of a prompt's tokens for M-RoPE.
struct MediaPositions {
  std::vector<int32_t> axes;  // [3, tokens]: time, height, width
  int shift = 0;              // added to the cache position of every later token
};

/// Tokens whose vectors belong to an encoder, not to the text model.
struct TokenTable {
  int first;          // the id of the first one
  mx::array vectors;  // [tokens, hidden]
};

/// The part of a multimodal model that turns images or recordings into vectors like those of tokens: tower and
/// projector. Constant after loading; every call on the worker thread.
class MediaEncoder {
 public:
  virtual ~MediaEncoder() = default;
  /// Throws invalid if the encoder does not accept the shape or grid of `data`.
  virtual EncodedMedia encode(const MediaData& data) const = 0;
  /// The positions of a prompt with `items`; nullopt if each token's position is its index.
  virtual std::optional<MediaPositions> positions(std::span<const int32_t> /*prompt*/,
                                                  std::span<const MediaItem> /*items*/) const {
    return std::nullopt;
  }
  /// Whether the features are added to the vectors of their tokens instead of replacing them.
  virtual bool adds_to_tokens() const { return false; }
  /// Whether layers of the model attend to the features from the item's only placeholder token on (cross-attention)
  /// instead of reading them as tokens.
  virtual bool is_attended_to() const { return false; }
  /// The tokens for which the encoder has vectors.
  virtual std::vector<TokenTable> tokens() const { return {}; }
};

}  // namespace mlxk
