// Hunyuan (https://arxiv.org/abs/2411.02265): mixtures by a softmax over all experts beside a shared expert, norms of
// queries and keys after rope; with use_cla, cross-layer attention (https://arxiv.org/abs/2405.12981). mlx-lm does not
// normalise the chosen weights; here norm_topk_prob decides, which Hunyuan-A13B sets.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kHunyuanMoe{.defaults = {.tie_word_embeddings = false},
                                   .names = {.q_norm = "query_layernorm", .k_norm = "key_layernorm"},
                                   .qkv_bias_key = "attention_bias",
                                   .out_bias_key = "attention_bias",
                                   .qk_norm = QkNorm::after_rope,
                                   .qk_norm_key = "use_qk_norm",
                                   .mixture = true,
                                   .experts = {.router = "mlp.gate.wg", .shared = "mlp.shared_mlp"}};

/// config.json's value of `key` for a layer; it may be a list with an entry for each.
int64_t of_layer(const Config& config, const char* key, int layer, int64_t fallback, int64_t high) {
  const Json* list = config.find(key);
  if (!list || !list->is_array()) return config.integer_or(key, fallback, 0, high);
  const Json& value = static_cast<size_t>(layer) < list->size() ? (*list)[static_cast<size_t>(layer)] : Json();
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > high) {
    throw config.bad(key, fmt::format("must have a whole number up to {} for layer {}", high, layer));
  }
  return value.get<int64_t>();
}

BlockConfig read_hunyuan(const Config& config) {
  Json json = config.json();
  for (const char* key : {"n_group", "topk_group", "routed_scaling_factor"}) {
    if (json.contains(key) && json[key].is_boolean()) json.erase(key);  // false: not used
  }
  // Lists are read layer by layer.
  for (const char* key : {"moe_topk", "num_shared_expert", "moe_intermediate_size"}) {
    if (json.contains(key) && json[key].is_array()) json[key] = 1;
  }
  BlockOptions options = kHunyuanMoe;
  options.mixture = config.integer_or("num_experts", 1, 1, 65536) > 1;
  return read_block(Config(std::move(json), config.place()), options);
}

/// Replaces attention: only an MLP is left.
class Unchanged : public DecoderLayer {
 public:
  mx::array operator()(const mx::array& x, const LayerCaches&, const LayerInputs&) const override { return x; }
  std::vector<std::unique_ptr<Cache>> make_caches(int) const override { return {}; }
};

/// `c` for a layer without projections of keys and values.
BlockConfig without_kv(BlockConfig c) {
  c.options.names.k = c.options.names.v = nullptr;
  return c;
}

/// A layer of cross-layer attention: it projects keys and values or uses those of the layer before, without norm and
/// rope. They are passed on behind x, [B, L, hidden + keys + values].
class CrossLayerBlock : public DecoderLayer {
 public:
  CrossLayerBlock(const BlockConfig& c, int layer, bool projects, const WeightPath& path)
      : hidden_(c.hidden_size),
        keys_(c.num_key_value_heads * c.head_dim),
        attention_(make_block_attention(projects ? c : without_kv(c), layer, path)),
        mlp_(make_block(c, layer, path, std::make_unique<Unchanged>())) {}

  mx::array operator()(const mx::array& all, const LayerCaches& caches, const LayerInputs& in) const override {
    const auto part = [&](int begin, int end) {
      return mx::slice(all, {0, 0, begin}, {all.shape(0), all.shape(1), end});
    };
    const mx::array x = part(0, hidden_);
    Qkv qkv = attention_.qkv(x);
    if (std::exchange(qkv.reads, false)) {
      qkv.k = part(hidden_, hidden_ + keys_);
      qkv.v = part(hidden_ + keys_, all.shape(2));
    }
    const mx::array h = attention_.out(attention_.attention(qkv, caches.attention(), in), x);
    return mx::concatenate({(*mlp_)(h, caches, in), qkv.k, qkv.v}, -1);
  }
  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows); }

 private:
  int hidden_, keys_;
  SelfAttention attention_;
  std::unique_ptr<DecoderLayer> mlp_;
};

}  // namespace

std::unique_ptr<Model> make_hunyuan(const Config& config, Weights& weights) {
  BlockConfig c = read_hunyuan(config);
  const bool crosses = config.flag_or("use_cla", false);
  const auto share = crosses ? config.integer_or("cla_share_factor", 2, 1, 1024) : 1;
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    BlockConfig own = c;
    if (own.mixture) {
      const auto of = [&](const char* key, int64_t fallback, int64_t high) {
        return static_cast<int>(of_layer(config, key, layer, fallback, high));
      };
      own.mixture->rule.top_k = std::max(1, of("moe_topk", 1, c.mixture->experts));
      own.mixture->wide = of("moe_intermediate_size", c.intermediate_size, 1 << 20);
      const bool shared = config.flag_or("use_mixed_mlp_moe", false);
      own.mixture->shared_wide = shared ? c.intermediate_size * of("num_shared_expert", 1, 1024) : 0;
    }
    const WeightPath path = root / c.options.names.layers / layer;
    parts.layers.push_back(crosses ? std::make_unique<CrossLayerBlock>(own, layer, layer % share == 0, path)
                                   : make_block(own, layer, path));
  }
  if (crosses) {
    parts.finish = [hidden = c.hidden_size](const mx::array& all, const LayerInputs&) {
      return mx::slice(all, {0, 0, 0}, {all.shape(0), all.shape(1), hidden});
    };
  }
  ModelShape shape = shape_of(c);
  shape.position_stable_tokens = c.ropes.front()->position_stable_tokens();
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
