// Nanbeige 4 (https://arxiv.org/abs/2512.06266), as mlx-lm computes it: a llama whose layers run num_loops times, each
// time with their own keys and values; the last norm is applied between two rounds, unless skip_loop_final_norm.
#include "json/json.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kNanbeige{.defaults = {.tie_word_embeddings = false},
                                 .qkv_bias_key = "attention_bias",
                                 .out_bias_key = "attention_bias",
                                 .mlp_bias_key = "mlp_bias"};

/// A layer in one of its rounds.
class Round : public DecoderLayer {
 public:
  Round(std::shared_ptr<const DecoderLayer> layer, std::optional<Norm> norm)
      : layer_(std::move(layer)), norm_(std::move(norm)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const mx::array y = (*layer_)(x, caches, in);
    return norm_ ? (*norm_)(y) : y;
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return layer_->make_caches(rows); }

 private:
  std::shared_ptr<const DecoderLayer> layer_;
  std::optional<Norm> norm_;  // after it
};

int rounds(const Config& config) {
  const Json* losses = config.find("loop_loss_weights");  // one for each round but the first
  if (losses && losses->is_array() && losses->size() > 63)
    throw config.bad("loop_loss_weights", "has too many entries");
  if (losses && losses->is_array() && !losses->empty()) return static_cast<int>(losses->size()) + 1;
  return static_cast<int>(config.integer_or("num_loops", 1, 1, 64));
}

}  // namespace

std::unique_ptr<Model> make_nanbeige(const Config& config, Weights& weights) {
  for (const char* key : {"enable_double_loop_split", "loop_share_kv", "enable_depth_attention"}) {
    if (config.flag_or(key, false)) throw config.bad(key, "true is not built in");
  }
  BlockConfig c = read_block(config, kNanbeige);
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  std::vector<std::shared_ptr<const DecoderLayer>> layers;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    layers.push_back(make_block(c, layer, root / c.options.names.layers / layer));
  }
  const int loops = rounds(config);
  const bool norms = !config.flag_or("skip_loop_final_norm", false);
  for (int loop = 0; loop < loops; ++loop) {
    for (const auto& layer : layers) {
      const bool between = norms && loop + 1 < loops && layer == layers.back();
      parts.layers.push_back(std::make_unique<Round>(layer, between ? parts.norm : std::nullopt));
    }
  }
  ModelShape shape = shape_of(c);
  for (const auto& rope : c.ropes) {
    shape.position_stable_tokens = std::min(shape.position_stable_tokens, rope->position_stable_tokens());
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
