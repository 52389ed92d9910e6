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

/// The usual block, attention and a gated MLP with norms, in all its variants. The differences between architectures
/// are rows of BlockOptions; read_block sets the properties that vary by layer in BlockConfig.

enum class NormKind {
  rms,
  rms_plus_one,  // factor 1 + weight
  rms_plain,     // without weights
  layer,         // with a bias
  layer_no_bias,
  layer_plus_one,  // factor 1 + weight, with a bias
  layer_plain,     // without weight and bias
  layer_by_head,   // of queries and keys: separate weights per head, [heads, head_dim]
};

/// A norm of that kind; those without tensors do not use `path`.
Norm make_norm(NormKind kind, const WeightPath& path, int dims, float eps);

enum class QkNorm { none, before_rope, after_rope };

/// The names of the block's tensors in a checkpoint, as in mlx-lm's module tree. nullptr: there are none; "": the layer
/// itself.
struct BlockNames {
  const char* embedding = "model.embed_tokens";
  const char* positions = nullptr;
  const char* layers = "model.layers";
  const char* norm = "model.norm";
  const char* head = "lm_head";
  // Names below a layer. Norms before attention and the MLP, and after each of them before the residual is added. If
  // mlp_norm equals attention_norm, both read the same vectors.
  const char* attention_norm = "input_layernorm";
  const char* attention_post_norm = nullptr;
  const char* mlp_norm = "post_attention_layernorm";
  const char* mlp_post_norm = nullptr;
  const char* attention = "self_attn";
  // No v: the values are the keys before their norm. No k: the layer reads the keys and values in another layer's
  // cache.
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *o = "o_proj";
  const char* qkv = nullptr;  // one matrix in place of q, k and v
  const char *q_norm = "q_norm", *k_norm = "k_norm";
  const char* sinks = nullptr;
  const char* attention_gate = nullptr;  // computes a gate for each number, or for each head, of attention's output
  const char* mlp = "mlp";
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";
  const char* gate_up = nullptr;  // one matrix in place of gate and up
  const char* up_gate = nullptr;  // the same with up first
};

/// The defaults of a model_type before config.json is read. `…_key` names a flag of config.json; nullptr: there is
/// none.
struct BlockOptions {
  DecoderDefaults defaults = {};
  BlockNames names = {};
  NormKind norm = NormKind::rms;

  const char* qkv_bias_key = nullptr;
  const char* out_bias_key = nullptr;
  const char* mlp_bias_key = nullptr;
  bool qkv_bias = false, out_bias = false, mlp_bias = false, head_bias = false;  // the default without the flag
  bool qkv_by_groups = false;  // names.qkv holds, for each kv head, its queries, its key and its value
  bool gate_in_q = false;      // q holds, for each head, its queries and then a gate
  QkNorm qk_norm = QkNorm::none;
  NormKind qk_norm_kind = NormKind::rms;
  bool qk_norm_whole = false;         // over all heads side by side, else per head
  const char* qk_norm_key = nullptr;  // a flag that switches them off
  bool v_norm = false;                // per head of the values, without weights
  bool gated = true;                  // else the MLP is down(act(up(x)))
  bool parallel = false;              // attention and MLP read the same x (parallel residual)
  const char* parallel_key = nullptr;

  bool head_may_be_absent = false;  // an untied model without a head uses its embeddings
  double theta = 10000;             // the default without rope_theta
  bool rope = true;
  bool traditional = false;           // rope rotates neighbouring pairs
  double partial_rotary = 1;          // the default without partial_rotary_factor
  int no_rope_interval = 0;           // every n-th layer has no rope, unless no_rope_layers says otherwise
  bool granite_scales = false;        // reads embedding_multiplier and similar keys
  bool minicpm_scales = false;        // reads scale_emb and similar keys
  bool query_scale = false;           // queries are scaled by their position (llama 4)
  LayerType mixer = LayerType::full;  // layers of this type have a mixer of the model's own instead of attention
  bool mixture = false;               // mixture layers among plain ones
  MixtureDefaults experts = {};
};

/// A model of such blocks.
struct BlockConfig : DecoderConfig {
  BlockOptions options;
  bool qkv_bias, out_bias, mlp_bias, parallel;
  std::vector<std::optional<RopeSettings>> ropes;  // one per layer; absent: none
  std::vector<int> windows;                        // one per layer; 0: no window
  float attention_scale;
  float attention_soft_cap = 0, final_soft_cap = 0;  // attn_logit_softcapping, final_logit_softcapping
  float embedding_multiplier = 1, residual_multiplier = 1, logit_multiplier = 1, logit_divisor = 1;
  float query_scale_beta = 0, query_scale_positions = 1;
  std::optional<MixtureConfig> mixture;

  bool mixes(int layer) const { return mixture && mixture->layers[static_cast<size_t>(layer)]; }
};

/// Throws bad_model or unsupported naming the key.
BlockConfig read_block(const Config& config, const BlockOptions& options);

/// Brings a checkpoint's tensors into the expected form: drops buffers of old checkpoints and a head that a tied model
/// does not use, stacks experts that are stored one by one. May set `c` to tied. Call it once before the layers are
/// made.
void sanitize_block(BlockConfig& c, Weights& weights, const std::string& root = {});

/// Drops the layers after the last one, which predict further tokens.
void drop_further_layers(const BlockConfig& c, Weights& weights, const std::string& root = {});

/// The attention of a layer at `path` (names.layers / its index), with its norms and residual.
SelfAttention make_block_attention(const BlockConfig& c, int layer, const WeightPath& path);

/// One layer at `path`.
std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path);
/// The same with `mixer`, which norms and adds the residual, instead of attention.
std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path,
                                         std::unique_ptr<DecoderLayer> mixer);

/// Everything but the layers, below `root`.
Decoder::Parts block_parts(const BlockConfig& c, const WeightPath& root);

/// The whole model below `root`, whose tensors are sanitized already.
std::unique_ptr<Model> make_block_decoder(const BlockConfig& c, const WeightPath& root);

/// The model of config.json: read_block, sanitize_block, make_block_decoder.
std::unique_ptr<Model> make_block_decoder(const BlockOptions& options, const Config& config, Weights& weights);

}  // namespace mlxk
