#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "models/held_weights.h"

namespace mlxk {

namespace mx = mlx::core;

/// The input of an encoder: several texts, or pairs of texts, packed without padding.
struct EncoderInputs {
  std::vector<int> ids;            // one text's tokens after the other's, including special ones
  std::vector<int> lengths;        // tokens of each text; their sum is the number of ids
  std::vector<int> token_types;    // one per id, from the tokenizer for pairs; empty: zeros
  std::vector<int> tasks = {};     // one per text: an index into EncoderShape::tasks, or -1; empty: none
  std::vector<int> attended = {};  // one per text: the number of its first tokens that are attended to; empty: all
};

/// The properties of an encoder.
struct EncoderShape {
  std::string model_type;
  int vocab_size = 0;
  int hidden_size = 0;
  int num_layers = 0;
  int64_t context_length = 0;      // tokens of the longest text; 0: unknown
  int num_labels = 0;              // of the classification head; 0: none
  bool predicts_tokens = false;    // there is a head with them: a masked language model's, or a decoder's
  bool sparse = false;             // there is a head of token weights (bge-m3)
  int colbert_size = 0;            // of a token's vector for late interaction; 0: no such head
  std::vector<std::string> tasks;  // the tasks with adapters in the weights
  uint64_t weight_bytes = 0;
};

/// A loaded encoder; constant after loading. Every call on the worker thread. A text's results have the same bits alone
/// and beside others.
class Encoder : public HeldWeights<EncoderShape> {
 public:
  virtual ~Encoder() = default;

  /// Lazy hidden states after the last layer (and its norm), [tokens, hidden]; throws invalid for ids, types, tasks or
  /// lengths out of range.
  mx::array hidden(const EncoderInputs& inputs) const;

  // The heads take the result of hidden(); each throws unsupported if the shape says that there is none.

  /// One row of logits for each text, [texts, num_labels] float32, before any activation.
  mx::array class_logits(const mx::array& hidden, const std::vector<int>& lengths) const;
  /// The vocabulary's logits at each of `rows` (positions among all tokens): [rows, vocab] float32.
  mx::array token_logits(const mx::array& hidden, const std::vector<int>& rows) const;
  /// A non-negative weight for each token: [tokens] float32. A text's weight for an id is the largest of its tokens',
  /// without special tokens.
  mx::array sparse_weights(const mx::array& hidden) const;
  /// A vector of length 1 for each token, [tokens, colbert_size] float32. The first token of a text is left out.
  mx::array colbert_vectors(const mx::array& hidden) const;

 protected:
  explicit Encoder(EncoderShape shape) : HeldWeights(std::move(shape)) {}

  // The same functions for inputs that are in range, in the encoders' phase; called only if the shape has the head.
  virtual mx::array encode(const EncoderInputs& inputs) const = 0;
  virtual mx::array classify(const mx::array& hidden, const std::vector<int>& lengths) const = 0;
  virtual mx::array predict_tokens(const mx::array& hidden) const = 0;  // [rows, hidden] → [rows, vocab]
  virtual mx::array weigh_tokens(const mx::array& hidden) const = 0;    // → [tokens, 1]
  virtual mx::array project_tokens(const mx::array& hidden) const = 0;  // → [tokens, colbert_size]

 private:
  void check(const EncoderInputs& inputs) const;
  void require(bool has, const char* head) const;
};

/// The indices of the first, or the last, token of each text in the hidden states.
std::vector<int> first_rows(const std::vector<int>& lengths);
std::vector<int> last_rows(const std::vector<int>& lengths);

/// Rows `rows` of x [tokens, columns] → [rows, columns].
mx::array take_rows(const mx::array& x, const std::vector<int>& rows);

}  // namespace mlxk
