#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mlx/array.h"
#include "nn/activation.h"
#include "nn/linear.h"
#include "probe/embedding_pipeline.h"

namespace mlxk {

/// Pools the hidden states [tokens, hidden] of texts to one vector each, [texts, hidden]. The first skipped[i] tokens
/// of text i (empty: none; at most all but the last) are left out of a mean or maximum.
mx::array pool(Pooling pooling, const mx::array& hidden, const std::vector<int>& lengths,
               const std::vector<int>& skipped = {});

/// The weight of each id of the vocabulary, [1, vocab] float32, from the logits of a text's tokens, [tokens, vocab].
mx::array pool(SpladePooling pooling, const mx::array& logits);

/// x [..., n] with each row divided by its norm; a row of zeros is unchanged.
mx::array normalized(const mx::array& x);

/// Turns a text's hidden states into its vector: pooling, matrices, normalisation. Constant after loading; on the
/// worker thread.
class EmbeddingHead {
 public:
  /// Reads the matrices below `dir`; throws bad_model naming file and tensor.
  EmbeddingHead(const EmbeddingPipeline& pipeline, const std::filesystem::path& dir, int hidden_size);

  /// hidden [tokens, hidden] → lazy [texts, dimensions] float32. `prompt_tokens`: the number of tokens of each text's
  /// prompt (with special ones before it), which the pipeline may leave out. With `dimensions` > 0 only that many
  /// numbers of a vector are kept, and normalised again if vectors are normalised; throws invalid if there are fewer.
  mx::array operator()(const mx::array& hidden, const std::vector<int>& lengths,
                       const std::vector<int>& prompt_tokens = {}, int dimensions = 0) const;

  /// hidden [tokens, hidden] → a lazy unit vector per token, [tokens, dimensions] float32, for a pipeline with
  /// token_vectors.
  mx::array token_vectors(const mx::array& hidden) const;

  const EmbeddingPipeline& pipeline() const { return pipeline_; }
  /// The size of a text's vector, or of a token's if the pipeline has token_vectors; 0 if there is neither.
  int dimensions() const { return dimensions_; }
  uint64_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Dense {
    Linear linear;
    std::string activation;
  };

  mx::array through_dense(mx::array x) const;

  EmbeddingPipeline pipeline_;
  std::vector<Dense> dense_;
  int dimensions_;
  uint64_t weight_bytes_ = 0;
};

}  // namespace mlxk
