#pragma once

#include <memory>
#include <string>

#include "models/text/block.h"
#include "nn/latent_attention.h"

namespace mlxk {

/// The attention of decoders with multi-head latent attention, with DeepSeek's tensor names.
struct LatentConfig {
  /// Reads q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim and attention_bias. Throws
  /// bad_model naming the key.
  static LatentConfig read(const Config& config);

  int q_lora_rank;  // 0: queries are projected directly
  int kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
  bool attention_bias;
  float norm_eps = 1e-6F;  // of the low-rank vectors, independent of the layers' own

  /// The attention of a layer at `path` (names.layers / its index), with `c`'s norm, rope, scale and residual.
  LatentAttention make(const BlockConfig& c, int layer, const WeightPath& path) const;
  /// The same as a mixer of make_block, with its cache.
  std::unique_ptr<DecoderLayer> mixer(const BlockConfig& c, int layer, const WeightPath& path) const;
  /// Splits `kv_b_proj` of an attention at `path` (the whole name), if present, into each head's `embed_q` and
  /// `unembed_out`. A packed one is packed again with `repack`, as mlx-lm does for some; else embed_q is not packed.
  void split_kv_b(const BlockConfig& c, Weights& weights, const std::string& path, bool repack) const;
};

/// A decoder of make_block's layers with that attention, below `root`; its tensors are sanitized already.
std::unique_ptr<Model> make_latent_decoder(const BlockConfig& c, const LatentConfig& latent, const WeightPath& root);

/// Like read_block, for a configuration whose rope has qk_rope_head_dim dimensions, and whose queries are scaled by 1 /
/// sqrt(qk_nope_head_dim + qk_rope_head_dim) and by YaRN's factor.
BlockConfig read_latent_block(const Config& config, const LatentConfig& latent, const BlockOptions& options);

}  // namespace mlxk
