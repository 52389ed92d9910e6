#pragma once

#include <optional>
#include <string>

#include "models/text/decoder.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// The per-layer embeddings of Gemma 3n and Gemma 4: each layer has its own table of token vectors.
struct PerLayerEmbedding {
  /// Takes its tensors at `path`; `vocab` is the table's size; unknown ids get the vector of id 0.
  PerLayerEmbedding(const WeightPath& path, const DecoderConfig& c, int vocab, int dims);

  /// The layers' inputs, one [B, L, dims] each: the tokens' own vectors plus a projection of h, their first embedding.
  std::vector<mx::array> operator()(const mx::array& h, const mx::array& ids) const;

 private:
  int layers_, dims_, vocab_, hidden_;
  float multiplier_;
  Embedding table_;
  Linear projection_;
  Norm norm_;
};

/// A layer's use of that input: norm(projection(act(gate(x)) · input)).
struct PerLayerInput {
  PerLayerInput(const WeightPath& layer, const DecoderConfig& c, int dims);

  mx::array operator()(const mx::array& x, const mx::array& input) const;

 private:
  Activation activation_;
  Linear gate_, projection_;
  Norm norm_;
};

/// `factor`, or, if the table at `path` is bfloat16 (or packed with such scales), the nearest number of that type,
/// which the references multiply with.
float embedding_factor(double factor, const WeightPath& path);

}  // namespace mlxk
