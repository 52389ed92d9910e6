#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "models/text/decoder.h"
#include "models/text/mixture_config.h"
#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/rope_settings.h"

namespace mlxk {

/// The usual block, attention and a gated MLP with norms, in all its variants: what an architecture differs in is a row
/// of BlockOptions; what varies by layer is set in the BlockConfig that read_block gives.

enum class NormKind {
  rms,
  rms_plus_one,  // factor 1 + weight
  rms_plain,     // without a factor
  layer,         // with a bias
  layer_no_bias,
  layer_plus_one,  // factor 1 + weight, with a bias
  layer_plain,     // without factor and bias
  layer_by_head,   // of queries and keys: each head's own factor, [heads, head_dim]
};

/// A norm of that kind; those without tensors leave `path` alone.
Norm make_norm(NormKind kind, const WeightPath& path, int dims, float eps);

enum class QkNorm { none, before_rope, after_rope };

/// Where a checkpoint has the tensors of the block, as mlx-lm's module tree names them. nullptr: it has none; "": the
/// layer itself.
struct BlockNames {
  const char* embedding = "model.embed_tokens";
  const char* positions = nullptr;
  const char* layers = "model.layers";
  const char* norm = "model.norm";
  const char* head = "lm_head";
  // Below a layer. Norms before attention and the MLP, and behind each of them before the residual is added. Where
  // mlp_norm is attention_norm, both read the same vectors.
  const char* attention_norm = "input_layernorm";
  const char* attention_post_norm = nullptr;
  const char* mlp_norm = "post_attention_layernorm";
  const char* mlp_post_norm = nullptr;
  const char* attention = "self_attn";
  // No v: the values are the keys before their norm. No k: keys and values are in the cache that the layer shares.
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *o = "o_proj";
  const char* qkv = nullptr;  // one matrix in their place
  const char *q_norm = "q_norm", *k_norm = "k_norm";
  const char* sinks = nullptr;
  const char* attention_gate = nullptr;  // gives a gate for each number, or for each head, of what attention gives
  const char* mlp = "mlp";
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";
  const char* gate_up = nullptr;  // one matrix in the place of gate and up
};

/// What a model_type means before config.json is read. `…_key` names a flag of config.json; nullptr: there is none.
struct BlockOptions {
  DecoderDefaults defaults = {};
  BlockNames names = {};
  NormKind norm = NormKind::rms;

  const char* qkv_bias_key = nullptr;
  const char* out_bias_key = nullptr;
  const char* mlp_bias_key = nullptr;
  bool qkv_bias = false, out_bias = false, mlp_bias = false, head_bias = false;  // without the flag
  bool qkv_by_groups = false;  // names.qkv has for each kv head its queries, its key and its value
  bool gate_in_q = false;      // q has for each head its queries and then a gate
  QkNorm qk_norm = QkNorm::none;
  NormKind qk_norm_kind = NormKind::rms;
  bool qk_norm_whole = false;         // of all heads side by side, else of each
  const char* qk_norm_key = nullptr;  // a flag that switches them off
  bool v_norm = false;                // of each head's values, without a factor
  bool gated = true;                  // else the MLP is down(act(up(x)))
  bool parallel = false;              // attention and MLP read the same x
  const char* parallel_key = nullptr;

  bool head_may_be_absent = false;  // an untied model without a head uses its embeddings
  double theta = 10000;             // without rope_theta
  bool rope = true;
  bool traditional = false;           // rope of neighbouring pairs
  double partial_rotary = 1;          // without partial_rotary_factor
  int no_rope_interval = 0;           // every n-th layer is without rope, unless no_rope_layers says otherwise
  bool granite_scales = false;        // embedding_multiplier and its like
  bool minicpm_scales = false;        // scale_emb and its like
  bool query_scale = false;           // queries grow with their position (llama 4)
  LayerType mixer = LayerType::full;  // layers of this type have a mixer of the model's own in the place of attention
  bool mixture = false;               // layers of experts beside plain ones
  MixtureDefaults experts = {};
};

/// A model of such blocks.
struct BlockConfig : DecoderConfig {
  BlockOptions options;
  bool qkv_bias, out_bias, mlp_bias, parallel;
  std::vector<std::optional<RopeSettings>> ropes;  // of each layer; absent: none
  std::vector<int> windows;                        // of each layer; 0: it sees all
  float attention_scale;
  float attention_soft_cap = 0, final_soft_cap = 0;  // attn_logit_softcapping, final_logit_softcapping
  float embedding_multiplier = 1, residual_multiplier = 1, logit_multiplier = 1, logit_divisor = 1;
  float query_scale_beta = 0, query_scale_positions = 1;
  std::optional<MixtureConfig> mixture;

  bool mixes(int layer) const { return mixture && mixture->layers[static_cast<size_t>(layer)]; }
};

/// Throws bad_model or unsupported naming the key.
BlockConfig read_block(const Config& config, const BlockOptions& options);

/// Puts a checkpoint's tensors right: drops buffers that old ones carry along and a head that a tied model does not
/// use, stacks experts that lie one by one. May make `c` tied. Call once before the layers are made.
void sanitize_block(BlockConfig& c, Weights& weights, const std::string& root = {});

/// Drops the layers behind the last one, which predict further tokens.
void drop_further_layers(const BlockConfig& c, Weights& weights, const std::string& root = {});

/// The attention of a layer at `path` (names.layers / its number), with its norms and residual.
SelfAttention make_block_attention(const BlockConfig& c, int layer, const WeightPath& path);

/// One layer at `path`.
std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path);
/// The same with `mixer`, which norms and adds the residual, in the place of attention.
std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path,
                                         std::unique_ptr<DecoderLayer> mixer);

/// Everything but the layers, below `root`.
Decoder::Parts block_parts(const BlockConfig& c, const WeightPath& root);

/// The whole model below `root`, whose tensors are put right already.
std::unique_ptr<Model> make_block_decoder(const BlockConfig& c, const WeightPath& root);

/// The model of config.json: read_block, sanitize_block, make_block_decoder.
std::unique_ptr<Model> make_block_decoder(const BlockOptions& options, const Config& config, Weights& weights);

}  // namespace mlxk
