#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "models/embedding/encoder_stack.h"
#include "nn/attention.h"
#include "nn/config.h"
#include "nn/mlp.h"
#include "nn/norm_linears.h"
#include "nn/packed_attention.h"
#include "nn/rope_settings.h"

namespace mlxk {

/// The keys in the configurations of nearly all encoders, under any of their usual names (hidden_size, dim, n_embd, …).
/// Fields keep transformers' words.
struct EncoderConfig {
  /// Throws bad_model naming the key, unsupported for a decoder.
  static EncoderConfig read(const Config& config, const char* activation = "gelu", double norm_eps = 1e-12);

  std::string model_type;
  int vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, head_dim;
  int max_position_embeddings, type_vocab_size;  // type_vocab_size 0: no token types
  float norm_eps;
  std::string activation;  // the configuration's word

  EncoderShape shape() const {
    return {model_type, vocab_size, hidden_size, num_hidden_layers, max_position_embeddings};
  }
};

/// The attention of a layer with its residual: x + out(attention(qkv(x))).
struct EncoderAttention {
  NormLinears qkv;  // queries, keys and values
  OutResidual out;
  int head_dim;
  int window = 0;                               // a token sees those less than `window` positions away; 0: all
  Rotation rotation = {};                       // none: positions are in the embeddings
  std::optional<mx::array> distance_bias = {};  // as in PackedAttention

  mx::array operator()(const mx::array& x, const PackedTexts& texts) const;
};

using EncoderMlp = std::variant<MlpResidual, GatedMlpResidual>;

/// The usual layer: attention and MLP with their residuals. Norms after them apply to the sum (as in the original
/// transformer); norms before them are part of `attention` and `mlp`.
class EncoderBlock : public EncoderLayer {
 public:
  EncoderBlock(EncoderAttention attention, EncoderMlp mlp, std::optional<Norm> attention_norm = std::nullopt,
               std::optional<Norm> mlp_norm = std::nullopt)
      : attention_(std::move(attention)),
        mlp_(std::move(mlp)),
        attention_norm_(std::move(attention_norm)),
        mlp_norm_(std::move(mlp_norm)) {}

  mx::array operator()(const mx::array& x, const PackedTexts& texts) const override;

 private:
  /// The whole layer as one operation of the device; nullopt: it has none for this form of a layer.
  std::optional<mx::array> at_once(const mx::array& x, const PackedTexts& texts) const;

  EncoderAttention attention_;
  EncoderMlp mlp_;
  std::optional<Norm> attention_norm_, mlp_norm_;
};

/// The rotation of heads by `settings`; throws unsupported if it depends on a text's length.
Rotation rotation_of(const Config& config, const RopeSettings& settings);

/// Converts the names of older checkpoints to the current ones: drops `prefix` and position buffers, renames gamma and
/// beta of norms to weight and bias.
void sanitize_encoder(Weights& weights, const std::string& prefix);

/// Drops the tensors below any of `places`, which the model does not use.
void drop_below(Weights& weights, std::initializer_list<const char*> places);

/// The number of outputs of the matrix at `path` in the checkpoint; 0 if there is none.
int rows_at(const WeightPath& path);

/// The matrix at `path`, with its bias if the checkpoint has one.
Linear linear_at(const WeightPath& path, int in, int out);

/// The paths of a masked language model's head in a checkpoint.
struct MaskedLmPaths {
  WeightPath dense, norm, decoder;
  WeightPath bias;  // its `bias`, or else the decoder's
};

/// The head at `paths`, or nullopt if the checkpoint has none. `tied`: the decoder is the embedding.
std::optional<MaskedLmHead> masked_lm_at(const EncoderConfig& c, const MaskedLmPaths& paths,
                                         const std::string& activation, bool tied, bool norm_bias = true);

/// Two matrices with tanh between them, as in RoBERTa's classification head: `dense` and `out` below `path`; nullopt if
/// the checkpoint has none.
std::optional<ClassHead> class_head_at(const WeightPath& dense, const WeightPath& out, int hidden_size,
                                       Activation activation = Activation::tanh);

}  // namespace mlxk
