#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/cache/attention_cache.h"
#include "nn/positions.h"

namespace mlxk {

/// The masks of one call, each made once for all layers with the same request.
class LayerMasks {
 public:
  LayerMasks(std::optional<mx::array> given, Positions positions, std::vector<MaskRequest::Range> ranges = {})
      : given_(std::move(given)), positions_(std::move(positions)), ranges_(std::move(ranges)) {}
  /// The mask for a layer with `cache`, to which this call's tokens are not appended yet: `request` with the call's
  /// ranges added, or the caller's own mask.
  const AttentionMask& of(const AttentionCache& cache, MaskRequest request = {}) const;

 private:
  struct Made {
    CacheGeometry geometry;
    MaskRequest request;
    std::unique_ptr<AttentionMask> mask;  // must not move
  };

  std::optional<mx::array> given_;
  Positions positions_;
  std::vector<MaskRequest::Range> ranges_;
  mutable std::vector<Made> made_;
};

/// An image or an encoded prompt that cross-attention layers attend to from its token on.
struct CrossMedia {
  int row, token;      // of the call; -1: before its first token
  mx::array features;  // [T, hidden]
};

/// The inputs of a decoder's layers other than x, the same for all layers of a call.
struct LayerInputs {
  Positions positions;
  LayerMasks masks;
  std::optional<mx::array> query_scale;  // [B or 1, 1, L, 1], multiplied onto the queries of layers that use it
  std::vector<mx::array> extras;  // data that the model passes to its own layers (per-layer inputs, a first stream, …)
  std::vector<CrossMedia> cross_media = {};  // the images whose tokens are in the call, in order
};

}  // namespace mlxk
