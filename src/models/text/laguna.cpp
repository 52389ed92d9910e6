// Laguna (https://poolside.ai), as transformers and mlx-lm compute it: sliding layers have another rope and may have
// more heads, softplus gates attention's output, and mixtures have DeepSeek-V3's router.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/tensor_names.h"

namespace mlxk {
namespace {

constexpr BlockOptions kLaguna{.defaults = {.tie_word_embeddings = false, .sliding_window = 512},
                               .names = {.attention_gate = "g_proj"},
                               .qkv_bias_key = "qkv_bias",
                               .out_bias_key = "attention_bias",
                               .qk_norm = QkNorm::before_rope,
                               .mixture = true,
                               .experts = {.score = RoutingRule::Score::sigmoid,
                                           .normalise = true,
                                           .router = "mlp.gate.proj",
                                           .shared = "mlp.shared_expert",
                                           .selection_bias = "mlp.gate.e_score_correction_bias"}};

class GatedAttention : public DecoderLayer {
 public:
  GatedAttention(SelfAttention block, int window) : block_(std::move(block)), window_(window) {
    block_.attention.gate = Activation::softplus;
  }

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return block_(x, caches.attention(), in);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  SelfAttention block_;
  int window_;
};

std::vector<int> read_heads(const Config& config, const BlockConfig& c) {
  constexpr const char* kKey = "num_attention_heads_per_layer";
  const Json* list = config.find(kKey);
  if (!list) return std::vector<int>(c.windows.size(), c.num_attention_heads);
  if (!list->is_array() || list->size() != c.windows.size()) {
    throw config.bad(kKey, fmt::format("must have {} entries", c.windows.size()));
  }
  std::vector<int> heads;
  for (const Json& entry : *list) {
    const bool fits = entry.is_number_unsigned() && entry.get<uint64_t>() > 0 && entry.get<uint64_t>() <= 4096;
    if (!fits || entry.get<int>() % c.num_key_value_heads != 0) {
      throw config.bad(kKey, fmt::format("must hold multiples of num_key_value_heads, got {}", entry.dump()));
    }
    heads.push_back(entry.get<int>());
  }
  return heads;
}

}  // namespace

std::unique_ptr<Model> make_laguna(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kLaguna);
  if (config.number_or("moe_router_logit_softcapping", 0, 0, 1e9) > 0) {
    throw config.bad("moe_router_logit_softcapping", "other than 0 is not built in");
  }
  if (config.flag_or("moe_apply_router_weight_on_input", false)) {
    throw config.bad("moe_apply_router_weight_on_input", "true is not built in");
  }
  const Json* gating = config.find("gating");  // true, "per-head", "per-element": the tensor's shape says which
  if (gating && gating->is_boolean() && !gating->get<bool>()) c.options.names.attention_gate = nullptr;
  if (!config.has("mlp_layer_types")) c.mixture->layers[0] = false;
  const std::vector<int> heads = read_heads(config, c);
  const RopeSettings local = RopeSettings::read(config, c.head_dim, kLaguna.theta, "sliding_attention");
  const RopeSettings global = RopeSettings::read(config, c.head_dim, kLaguna.theta, "full_attention");
  rename_tensors(weights, {{"language_model.", ""},
                           {".mlp.gate.weight", ".mlp.gate.proj.weight"},
                           {".mlp.experts.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"}});
  sanitize_block(c, weights);

  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const WeightPath path = root / c.options.names.layers / layer;
    c.num_attention_heads = heads[i];
    c.ropes[i] = c.slides(layer) ? local : global;
    shape.position_stable_tokens = std::min(shape.position_stable_tokens, c.ropes[i]->position_stable_tokens());
    auto attention = std::make_unique<GatedAttention>(make_block_attention(c, layer, path), c.windows[i]);
    parts.layers.push_back(make_block(c, layer, path, std::move(attention)));
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
