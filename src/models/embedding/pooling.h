#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "nn/activation.h"
#include "nn/linear.h"
#include "probe/embedding_pipeline.h"

namespace mlxk {

/// One vector for each text from its hidden states [tokens, hidden] → [texts, hidden]. The first skipped[i] tokens of
/// text i (empty: none; at most all but the last) take no part in a mean or maximum.
mx::array pool(Pooling pooling, const mx::array& hidden, const std::vector<int>& lengths,
               const std::vector<int>& skipped = {});

/// x [..., n] with each row divided by its length; a row of zeros stays.
mx::array normalized(const mx::array& x);

/// What makes a text's vector of its hidden states: pooling, matrices, normalisation. Constant after loading; on the
/// worker thread.
class EmbeddingHead {
 public:
  /// Reads the matrices below `dir`; throws bad_model naming file and tensor.
  EmbeddingHead(const EmbeddingPipeline& pipeline, const std::filesystem::path& dir, int hidden_size);

  /// hidden [tokens, hidden] → lazy [texts, dimensions] float32. `prompt_tokens`: of each text, how many tokens at its
  /// beginning are the prompt's (with special ones before them), left out where the pipeline says so. With `dimensions`
  /// > 0 only that many numbers of a vector are kept, and normalised again where vectors are normalised; throws invalid
  /// for more than there are.
  mx::array operator()(const mx::array& hidden, const std::vector<int>& lengths,
                       const std::vector<int>& prompt_tokens = {}, int dimensions = 0) const;

  int dimensions() const { return dimensions_; }
  uint64_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Dense {
    Linear linear;
    std::string activation;
  };

  EmbeddingPipeline pipeline_;
  std::vector<Dense> dense_;
  int dimensions_;
  uint64_t weight_bytes_ = 0;
};

}  // namespace mlxk
