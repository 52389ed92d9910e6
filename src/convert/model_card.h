#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "worker/backend.h"

namespace mlxk {

/// The facts about a conversion on its card.
struct CardFacts {
  std::string title;         // the model's name
  std::string base_model;    // org/name; empty: unknown
  std::string quantization;  // "4-bit group 64"; empty: none
  std::optional<Drift> drift;
  std::optional<VectorDrift> vector_drift;
  bool is_encoder = false;  // an embedding model, reranker or classifier
};

/// A README.md for a converted model: the front matter of `source` (the text of the source's README; may be empty) with
/// library_name, pipeline_tag and the tag mlx as mlx-lm sets them, every other key kept, then a few lines of our own.
std::string model_card(std::string_view source, const CardFacts& facts);

}  // namespace mlxk
