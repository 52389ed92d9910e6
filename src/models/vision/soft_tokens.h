#pragma once

#include "models/media_encoder.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// Gemma 3n's way from a tower into the language model (transformers' Gemma3nMultimodalEmbedder), for features and for
/// the tokens of the vocabulary that belong to the tower.
class SoftTokens {
 public:
  /// Takes the tensors at `path`. `own`: the tower's configuration, `first`: the default of its vocab_offset.
  SoftTokens(const Config& own, const WeightPath& path, int width, int hidden, int first);
  /// Features [..., width] → [..., hidden].
  mx::array operator()(const mx::array& features) const;
  const TokenTable& tokens() const { return tokens_; }

 private:
  RmsNorm soft_norm_;
  Linear projection_;
  RmsNorm last_norm_;
  TokenTable tokens_;
};

}  // namespace mlxk
