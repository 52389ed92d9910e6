// PLaMo 13B, as mlx-lm computes it: parallel attention and MLP after one norm; query head h reads head h mod kv_heads
// of keys and values, where other models read h / (heads / kv_heads).
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kPlamo{.defaults = {.tie_word_embeddings = false},
                              .names = {.layers = "model.layers.layers", .attention_norm = "norm", .mlp_norm = "norm"}};

class PlamoLayer : public DecoderLayer {
 public:
  PlamoLayer(const BlockConfig& c, int layer, const WeightPath& path)
      : attention_(make_block_attention(c, layer, path)),
        mlp_{attention_.qkv.norm,
             Linear(path / "mlp.gate_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp.up_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp.down_proj", c.intermediate_size, c.hidden_size),
             std::nullopt,
             c.activation},
        kv_heads_(c.num_key_value_heads),
        sharing_(c.num_attention_heads / c.num_key_value_heads) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    Qkv qkv = attention_.qkv(x);
    qkv.q = swapped(qkv.q, sharing_, kv_heads_);
    const mx::array seen = attention_.attention(qkv, caches.attention(), in);
    return attention_.out(swapped(seen, kv_heads_, sharing_), mlp_(x));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows); }

 private:
  /// Transposes the heads of [B, L, a · b · head_dim], an array [a, b] of them, to [b, a].
  static mx::array swapped(const mx::array& x, int a, int b) {
    return mx::flatten(mx::swapaxes(mx::unflatten(x, -1, {a, b, -1}), 2, 3), 2, 4);
  }

  SelfAttention attention_;
  GatedMlpResidual mlp_;
  int kv_heads_, sharing_;
};

}  // namespace

std::unique_ptr<Model> make_plamo(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kPlamo);
  const int sharing = static_cast<int>(config.integer_or("n_shared_head", 8, 1, 4096));
  if (c.num_attention_heads % sharing != 0) throw config.bad("n_shared_head", "must divide num_attention_heads");
  c.num_key_value_heads = c.num_attention_heads / sharing;
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(std::make_unique<PlamoLayer>(c, layer, root / c.options.names.layers / layer));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
