#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/embedding/encoder.h"
#include "nn/activation.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace mlxk {

/// The inputs of all layers of an encoder besides x.
struct PackedTexts {
  std::vector<int> lengths;        // one per text, in tokens
  std::vector<int> tasks;          // one per text; empty: none
  std::vector<int> attended = {};  // as in EncoderInputs
};

/// A layer of an encoder: x [tokens, hidden] → the same, residuals added.
class EncoderLayer {
 public:
  virtual ~EncoderLayer() = default;
  virtual mx::array operator()(const mx::array& x, const PackedTexts& texts) const = 0;
};

/// One row of logits from a text's hidden states: out(norm(act(dense(pooled)))).
struct ClassHead {
  Linear out;
  std::optional<Linear> dense = {};
  Activation activation = Activation::tanh;
  std::optional<Norm> norm = {};
  bool mean = false;  // over the text's tokens; else its first one
};

/// The vocabulary's logits of hidden states: decoder(norm(act(dense(x)))) + bias.
struct MaskedLmHead {
  Linear dense;
  Activation activation = Activation::gelu;
  Norm norm;
  std::optional<Linear> decoder = {};  // absent: the embedding
  std::optional<mx::array> bias = {};  // [vocab]
};

/// An encoder of the usual form: it embeds, runs its layers and norms.
class EncoderStack : public Encoder {
 public:
  struct Parts {
    Embedding words;
    std::optional<Embedding> positions = {};
    int first_position = 0;  // the position table's entry for a text's first token
    std::optional<Embedding> token_types = {};
    int type_vocab_size = 0;  // entries of it
    /// Called with the sum of the embeddings, before their norm; null: nothing is added.
    std::function<mx::array(const mx::array& x, const EncoderInputs& inputs)> adapt = {};
    std::optional<Norm> embedding_norm = {};
    std::vector<std::unique_ptr<EncoderLayer>> layers = {};
    std::optional<Norm> norm = {};  // after the layers
    std::optional<ClassHead> classifier = {};
    std::optional<MaskedLmHead> masked_lm = {};
    std::optional<Linear> sparse = {}, colbert = {};
  };

  /// Sets the shape's heads from `parts`.
  EncoderStack(EncoderShape shape, Parts parts);

 protected:
  mx::array encode(const EncoderInputs& inputs) const override;
  mx::array classify(const mx::array& hidden, const std::vector<int>& lengths) const override;
  mx::array predict_tokens(const mx::array& hidden) const override;
  mx::array weigh_tokens(const mx::array& hidden) const override { return (*parts_.sparse)(hidden); }
  mx::array project_tokens(const mx::array& hidden) const override { return (*parts_.colbert)(hidden); }

 private:
  Parts parts_;
};

}  // namespace mlxk
