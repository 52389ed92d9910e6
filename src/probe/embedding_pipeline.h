#pragma once

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

/// The modules that modules.json lists after the transformer, in this order.
struct EmbeddingPipeline {
  std::vector<Pooling> poolings;  // their vectors are concatenated
  bool include_prompt = true;     // false: the prompt's tokens are no part of the pooling
  std::vector<DenseModule> dense;
  bool normalize = false;
};

}  // namespace mlxk
