// Klear (https://github.com/Kwai-Klear/Klear-46B-A2.5B), as mlx-lm computes it: Qwen3-MoE's attention; coefficients
// from each token mix a mixture's chosen experts with its shared one.
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kKlear{.defaults = {.tie_word_embeddings = false},
                              .qkv_bias_key = "attention_bias",
                              .out_bias_key = "attention_bias",
                              .qk_norm = QkNorm::before_rope,
                              .mixture = true,
                              .experts = {.score = RoutingRule::Score::sigmoid,
                                          .normalise = true,
                                          .experts = "mlp.experts",
                                          .shared = "mlp.shared_experts",
                                          .selection_bias = "mlp.expert_bias"}};

class MixingLayer : public DecoderLayer {
 public:
  MixingLayer(const BlockConfig& c, int layer, const WeightPath& path)
      : attention_(make_block_attention(c, layer, path)),
        window_(c.windows[static_cast<size_t>(layer)]),
        norm_(make_norm(c.options.norm, path / c.options.names.mlp_norm, c.hidden_size, c.norm_eps)),
        mixture_(c.mixture->make(path, std::nullopt, c.hidden_size, c.activation)),
        coefficient_(path / c.options.names.mlp / "coefficient", c.hidden_size, 2, true) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array mid = attention_(x, caches.attention(), in);
    const mx::array h = norm_(mid), rows = mx::reshape(h, {-1, h.shape(-1)});
    const mx::array chosen = mx::reshape(mixture_.sum_of_experts(rows, rows), h.shape());
    const std::vector<mx::array> parts = mx::split(mx::softmax(coefficient_(h), -1, true), 2, -1);  // [B, L, 1]
    const mx::array mixed = mx::add(mx::multiply(chosen, parts[0]), mx::multiply((*mixture_.shared)(h), parts[1]));
    return mx::add(mid, mixed);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  SelfAttention attention_;
  int window_;
  Norm norm_;
  MixtureResidual mixture_;
  Linear coefficient_;
};

}  // namespace

std::unique_ptr<Model> make_Klear(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kKlear);
  if (c.mixture->shared_wide == 0) throw config.bad("n_shared_experts", "must be at least 1");
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    if (c.mixes(layer)) {
      parts.layers.push_back(std::make_unique<MixingLayer>(c, layer, path));
    } else {
      parts.layers.push_back(make_block(c, layer, path));
    }
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
