// Phi-3.5-MoE (https://arxiv.org/abs/2404.14219), transformers' phimoe: layer norms, biases everywhere, and a router
// that chooses one expert after the other (SparseMixer, https://arxiv.org/abs/2409.12136): each is the best of the
// remaining experts. Its weight is its share in a softmax over the remaining experts with logits close to its own.
#include <fmt/format.h>

#include <limits>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kPhiMoe{
    .defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
    .norm = NormKind::layer,
    .qkv_bias_key = "attention_bias",
    .out_bias_key = "attention_bias",
    .qkv_bias = true,
    .out_bias = true,
    .theta = 1e6,
    .mixture = true,
    .experts = {.router = "block_sparse_moe.gate", .experts = "block_sparse_moe.switch_mlp"}};

class PhimoeLayer : public DecoderLayer {
 public:
  PhimoeLayer(const BlockConfig& c, int layer, float jitter, const WeightPath& path)
      : attention_(make_block_attention(c, layer, path)),
        window_(c.windows[static_cast<size_t>(layer)]),
        jitter_(jitter),
        top_k_(c.mixture->rule.top_k),
        mixture_(c.mixture->make(path,
                                 make_norm(c.options.norm, path / c.options.names.mlp_norm, c.hidden_size, c.norm_eps),
                                 c.hidden_size, c.activation)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array mid = attention_(x, caches.attention(), in), h = (*mixture_.norm)(mid);
    return mx::add(mid, mx::reshape(experts(mx::reshape(h, {-1, h.shape(-1)})), h.shape()));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  /// The experts of each token of h [tokens, hidden] and their weights, [tokens, top_k].
  Router::Chosen choose(const mx::array& h) const {
    const mx::array logits = mx::astype(mixture_.router.scores(h), mx::float32), size = mx::abs(logits);
    const mx::array nothing(-std::numeric_limits<float>::infinity());
    const mx::array numbers = mx::arange(0, logits.shape(1), mx::uint32);
    mx::array left = logits;
    std::vector<mx::array> ids, weights;
    for (int i = 0; i < top_k_; ++i) {
      const mx::array best = mx::max(left, -1, true), id = mx::argmax(left, -1, true);
      const mx::array distance = mx::divide(mx::subtract(best, logits), mx::maximum(size, best));
      const mx::array near = mx::where(mx::greater(distance, mx::array(2 * jitter_)), nothing, left);
      ids.push_back(id);
      weights.push_back(mx::take_along_axis(mx::softmax(near, -1, true), id, -1));
      left = mx::where(mx::equal(numbers, id), nothing, left);
    }
    return {mx::astype(mx::concatenate(ids, -1), mx::uint32), mx::concatenate(weights, -1)};
  }

  mx::array experts(const mx::array& h) const {
    const auto [ids, weights] = choose(h);
    const mx::array inner =
        activate_gated(mixture_.activation, mixture_.gate->of_chosen(h, ids), mixture_.up.of_chosen(h, ids));
    const mx::array each = mixture_.down.of_chosen(inner, ids);  // [tokens, top_k, hidden]
    return mx::sum(mx::multiply(each, mx::astype(mx::expand_dims(weights, -1), each.dtype())), 1);
  }

  SelfAttention attention_;
  int window_;
  float jitter_;
  int top_k_;
  MixtureResidual mixture_;  // only its parts: the routing rule differs
};

/// `config` with LongRoPE's factor as attention_factor. phimoe has one key for short rows and one for long rows.
Config phimoe_keys(const Config& config) {
  const char* key = config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!config.has(key) || !config.object(key).has("long_mscale")) return config;
  const Config scaling = config.object(key);
  const double factor = scaling.number("long_mscale", 1e-6, 1e6);
  if (scaling.number("short_mscale", 1e-6, 1e6) != factor) {
    throw scaling.bad("short_mscale", "must equal long_mscale");
  }
  Json json = config.json();
  json[key]["attention_factor"] = factor;
  return Config(std::move(json), config.place());
}

}  // namespace

std::unique_ptr<Model> make_phimoe(const Config& config, Weights& weights) {
  BlockConfig c = read_block(phimoe_keys(config), kPhiMoe);
  c.options.head_bias = config.flag_or("lm_head_bias", true);
  const auto jitter = static_cast<float>(config.number_or("router_jitter_noise", 0.01, 0, 1));
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.block_sparse_moe", layer);
    stack_experts(weights, path, path + ".switch_mlp", c.mixture->experts,
                  {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}});
  }
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(std::make_unique<PhimoeLayer>(c, layer, jitter, root / c.options.names.layers / layer));
  }
  ModelShape shape = shape_of(c);
  shape.position_stable_tokens = c.ropes[0]->position_stable_tokens();
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
