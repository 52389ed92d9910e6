#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// How hidden states become one vector, by sentence-transformers' words.
enum class Pooling { cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken };

/// A matrix after the pooling: `folder`/model.safetensors has linear.weight [out, in] and optionally linear.bias.
struct DenseModule {
  std::string folder;      // relative to the model's
  std::string activation;  // "Tanh", "Identity", …: the class without its module
};

/// How the vocabulary's logits of all tokens become one weight per id: log(1 + relu(x)), applied once or twice, then
/// the maximum or the sum over the tokens.
struct SpladePooling {
  bool sum = false, twice = false;
};

/// The modules that modules.json lists after the transformer, in this order.
struct EmbeddingPipeline {
  std::vector<Pooling> poolings;  // their vectors are concatenated; empty: no text vectors
  bool include_prompt = true;     // false: the prompt's tokens are no part of the pooling
  std::vector<DenseModule> dense;
  bool normalize = false;
  std::optional<SpladePooling> splade = {};  // sparse vectors
  bool token_vectors = false;                // a unit vector per token, made by `dense`, instead of poolings
};

}  // namespace mlxk
