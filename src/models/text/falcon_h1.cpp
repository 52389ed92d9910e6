// Falcon-H1 (https://arxiv.org/abs/2507.22448), as transformers computes it: attention and a Mamba-2 mixer read the
// same vectors in every layer. Published files have multipliers for the matrices' inputs and outputs; mlx-lm has
// multiplied them into the weights, except key_multiplier.
#include <fmt/format.h>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/mamba.h"

namespace mlxk {
namespace {

constexpr BlockOptions kFalconH1{
    .defaults = {.norm_eps = 1e-5},
    .names = {.norm = "model.final_layernorm", .mlp_norm = "pre_ff_layernorm", .mlp = "feed_forward"},
    .qkv_bias_key = "attention_bias",
    .out_bias_key = "attention_bias",
    .mlp_bias_key = "mlp_bias",
    .theta = 1e11};

class ParallelMixers : public DecoderLayer {
 public:
  ParallelMixers(SelfAttention attention, Mamba2Residual mamba)
      : attention_(std::move(attention)), mamba_(std::move(mamba)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return attention_(x, caches.attention(1), in, mamba_(x, caches.recurrent(0), in));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    std::vector<std::unique_ptr<Cache>> both = recurrent_cache(rows, Mamba2Residual::kStates);
    for (auto& cache : attention_cache(rows)) both.push_back(std::move(cache));
    return both;
  }

 private:
  SelfAttention attention_;
  Mamba2Residual mamba_;
};

constexpr Mamba2Keys kFalconMamba2{"mamba_n_heads", "mamba_d_head",    "mamba_n_groups",  "mamba_d_state",
                                   "mamba_d_conv",  "mamba_conv_bias", "mamba_proj_bias", "projectors_bias"};

float multiplier(const Config& config, const char* key, double fallback = 1) {
  return static_cast<float>(config.number_or(key, fallback, -1e9, 1e9));
}

std::vector<float> multipliers(const Config& config, const char* key, size_t count) {
  const Json* list = config.find(key);
  if (!list) return std::vector<float>(count, 1.0F);
  std::vector<float> all;
  for (const Json& value : *list) {
    if (value.is_number()) all.push_back(value.get<float>());
  }
  if (!list->is_array() || list->size() != count || all.size() != count) {
    throw config.bad(key, fmt::format("must be {} numbers, got {}", count, list->dump()));
  }
  return all;
}

/// Multiplies the factors that published files leave to the model into their weights.
void fold_multipliers(const Config& config, const BlockConfig& c, const Mamba2Config& m, Weights& weights) {
  const auto times = [&](const std::string& name, const mx::array& factor) {
    const auto found = weights.tensors().find(name);
    if (found == weights.tensors().end()) return;
    mx::array& weight = found->second;
    const mx::array wide = mx::multiply(mx::astype(weight, mx::float32), factor);
    weight = mx::astype(wide, weight.dtype());
  };
  const auto number = [&](const char* key) { return mx::array(multiplier(config, key)); };
  const std::vector<float> mlp = multipliers(config, "mlp_multipliers", 2);
  const std::vector<float> parts = multipliers(config, "ssm_multipliers", 5);
  const int keys = m.groups * m.state_size, sizes[] = {m.width(), m.width(), keys, keys, m.heads};
  std::vector<float> rows;
  for (size_t i = 0; i < parts.size(); ++i) rows.insert(rows.end(), static_cast<size_t>(sizes[i]), parts[i]);
  const mx::array by_row(rows.begin(), {static_cast<int>(rows.size())});
  const mx::array in = number("attention_in_multiplier"), key = number("key_multiplier");
  times("model.embed_tokens.weight", number("embedding_multiplier"));
  times("lm_head.weight", number("lm_head_multiplier"));
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("model.layers.{}.", layer), attention = path + "self_attn.";
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) times(attention + name + ".weight", in);
    times(path + "mamba.in_proj.weight", mx::expand_dims(mx::multiply(by_row, number("ssm_in_multiplier")), 1));
    times(path + "mamba.in_proj.bias", by_row);
    for (const char* leaf : {"weight", "bias"}) {
      const auto both = [&](const std::string& name, const mx::array& factor) { times(name + leaf, factor); };
      both(attention + "k_proj.", key);
      both(attention + "o_proj.", number("attention_out_multiplier"));
      both(path + "mamba.out_proj.", number("ssm_out_multiplier"));
      both(path + "feed_forward.gate_proj.", mx::array(mlp[0]));
      both(path + "feed_forward.down_proj.", mx::array(mlp[1]));
    }
  }
}

}  // namespace

std::unique_ptr<Model> make_falcon_h1(const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, kFalconH1);
  Mamba2Config mamba = read_mamba2(config, c, kFalconMamba2);
  mamba.norm_groups = config.flag_or("mamba_rms_norm", false) ? mamba.groups : 0;
  mamba.norm_before_gate = config.flag_or("mamba_norm_before_gate", true);
  const auto conv = weights.tensors().find("model.layers.0.mamba.conv1d.weight");
  const bool published = conv != weights.tensors().end() && conv->second.ndim() == 3 && conv->second.shape(2) > 1;
  if (published) fold_multipliers(config, c, mamba, weights);
  if (c.tie_word_embeddings) {  // the embedding includes its multiplier
    c.logit_multiplier = multiplier(config, "lm_head_multiplier", published ? 1 : 0.0390625) /
                         multiplier(config, "embedding_multiplier", published ? 1 : 5.656854249492381);
  }
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    SelfAttention attention = make_block_attention(c, layer, path);
    Mamba2Residual mixer(mamba, path / "mamba", attention.qkv.norm);
    parts.layers.push_back(
        make_block(c, layer, path, std::make_unique<ParallelMixers>(std::move(attention), std::move(mixer))));
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
