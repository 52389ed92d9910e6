// nanochat (https://github.com/karpathy/nanochat), as transformers and mlx-lm compute it: norms without weights
// everywhere, also of the embedding and of queries and keys after rope, which rotates in the opposite direction; an MLP
// of squared relu, logits capped at 15.
#include <fmt/format.h>

#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kNanoChat{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false, .activation = "relu2"},
                                 .names = {.embedding = "transformer.wte",
                                           .layers = "transformer.h",
                                           .attention = "attn",
                                           .q = "c_q",
                                           .k = "c_k",
                                           .v = "c_v",
                                           .o = "c_proj",
                                           .up = "c_fc",
                                           .down = "c_proj"},
                                 .norm = NormKind::rms_plain,
                                 .qk_norm = QkNorm::after_rope,
                                 .qk_norm_kind = NormKind::rms_plain,
                                 .gated = false};

/// Rotating in the opposite direction equals rotating heads whose halves are swapped; as queries and keys change alike,
/// nothing else is affected.
void swap_halves(const BlockConfig& c, Weights& weights) {
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    for (const char* name : {c.options.names.q, c.options.names.k}) {
      for (const char* leaf : {"weight", "scales", "biases"}) {
        const std::string path = fmt::format("{}.{}.attn.{}.{}", c.options.names.layers, layer, name, leaf);
        if (!weights.has(path)) continue;
        mx::array rows = weights.take_to_compute(path);
        if (rows.ndim() == 2 && rows.shape(0) % c.head_dim == 0) {
          const mx::array halves = mx::reshape(rows, {-1, 2, c.head_dim / 2, rows.shape(1)});
          rows = mx::reshape(mx::take(halves, mx::array({1, 0}), 1), rows.shape());
        }
        weights.compute(path, rows);
      }
    }
  }
}

}  // namespace

std::unique_ptr<Model> make_nanochat(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kNanoChat);
  if (config.flag_or("attention_bias", false)) throw config.bad("attention_bias", "true is not built in");
  if (!config.has("final_logit_softcapping")) c.final_soft_cap = 15;
  rename_tensors(weights, {{"model.embed_tokens.", "transformer.wte."},
                           {"model.layers.", "transformer.h."},
                           {".self_attn.q_proj.", ".attn.c_q."},
                           {".self_attn.k_proj.", ".attn.c_k."},
                           {".self_attn.v_proj.", ".attn.c_v."},
                           {".self_attn.o_proj.", ".attn.c_proj."},
                           {".mlp.fc1.", ".mlp.c_fc."},
                           {".mlp.fc2.", ".mlp.c_proj."}});
  swap_halves(c, weights);
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  parts.embedding_norm = RmsNorm(c.hidden_size, c.norm_eps);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(make_block(c, layer, root / c.options.names.layers / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
