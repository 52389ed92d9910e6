#include "models/text/latent_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "nn/cache/kv_cache.h"

namespace mlxk {
namespace {

class LatentMixer : public DecoderLayer {
 public:
  explicit LatentMixer(LatentAttention attention)
      : attention_(std::move(attention)), latent_dim_(attention_.kv.out() - attention_.rope_dim) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return attention_(x, caches.attention(), in);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    std::vector<std::unique_ptr<Cache>> one;
    one.push_back(std::make_unique<KVCache>(rows, latent_dim_));
    return one;
  }

 private:
  LatentAttention attention_;
  int latent_dim_;
};

/// YaRN's factor of the scores: the square of the attention factor for mscale_all_dim.
double yarn_score_factor(const RopeSettings& rope) {
  if (rope.type != "yarn" || rope.factor <= 1) return 1;
  const double mscale = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1;
  return mscale * mscale;
}

}  // namespace

LatentConfig LatentConfig::read(const Config& config) {
  constexpr int kWide = 1 << 16;
  const auto integer = [&](const char* key) { return static_cast<int>(config.integer(key, 1, kWide)); };
  LatentConfig c{};
  c.q_lora_rank = static_cast<int>(config.integer_or("q_lora_rank", 0, 0, kWide));
  c.kv_lora_rank = integer("kv_lora_rank");
  c.qk_nope_head_dim = integer("qk_nope_head_dim");
  c.qk_rope_head_dim = integer("qk_rope_head_dim");
  c.v_head_dim = integer("v_head_dim");
  c.attention_bias = config.flag_or("attention_bias", false);
  c.norm_eps = 1e-6F;
  return c;
}

LatentAttention LatentConfig::make(const BlockConfig& c, int layer, const WeightPath& path) const {
  const BlockNames& n = c.options.names;
  const WeightPath attention = path / n.attention;
  const int heads = c.num_attention_heads, queries = heads * (qk_nope_head_dim + qk_rope_head_dim);
  const auto low_rank_norm = [&](const char* name, int dims) { return RmsNorm(attention / name, dims, norm_eps); };
  std::optional<NormLinear> q_out;
  if (q_lora_rank > 0) {
    q_out =
        NormLinear{low_rank_norm("q_a_layernorm", q_lora_rank), Linear(attention / "q_b_proj", q_lora_rank, queries)};
  }
  const auto& rope = c.ropes[static_cast<size_t>(layer)];
  return {make_norm(c.options.norm, path / n.attention_norm, c.hidden_size, c.norm_eps),
          q_out ? Linear(attention / "q_a_proj", c.hidden_size, q_lora_rank, attention_bias)
                : Linear(attention / "q_proj", c.hidden_size, queries),
          q_out,
          Linear(attention / "kv_a_proj_with_mqa", c.hidden_size, kv_lora_rank + qk_rope_head_dim, attention_bias),
          low_rank_norm("kv_a_layernorm", kv_lora_rank),
          ExpertLinear(attention / "embed_q", heads, qk_nope_head_dim, kv_lora_rank),
          ExpertLinear(attention / "unembed_out", heads, kv_lora_rank, v_head_dim),
          rope ? std::optional(Rope(*rope)) : std::nullopt,
          qk_rope_head_dim,
          Attention{std::nullopt, std::nullopt, std::nullopt, c.attention_scale},
          {Linear(attention / n.o, heads * v_head_dim, c.hidden_size, attention_bias), std::nullopt,
           c.residual_multiplier}};
}

std::unique_ptr<DecoderLayer> LatentConfig::mixer(const BlockConfig& c, int layer, const WeightPath& path) const {
  return std::make_unique<LatentMixer>(make(c, layer, path));
}

void LatentConfig::split_kv_b(const BlockConfig& c, Weights& weights, const std::string& path, bool repack) const {
  const std::string whole = path + ".kv_b_proj";
  if (!weights.has(whole + ".weight")) return;
  const int heads = c.num_attention_heads, rows = qk_nope_head_dim + v_head_dim;
  // mlx-lm's checkpoints of a model that cannot be packed again hold the unsplit matrix.
  const auto take = [&](const char* leaf) {
    return repack ? weights.take_raw(whole + leaf) : weights.take_to_compute(whole + leaf);
  };
  const auto put = [&](const std::string& name, const mx::array& tensor) {
    const mx::array part = mx::contiguous(tensor);
    if (repack) {
      weights.tensors().insert_or_assign(path + name, part);
    } else {
      weights.compute(path + name, part);
    }
  };
  /// [heads * (nope + value), …] → the first or the last rows of each head, [heads, nope or value, …].
  const auto of_heads = [&](const mx::array& x, bool keys) {
    const mx::array by_head = mx::unflatten(x, 0, {heads, rows});
    const int begin = keys ? 0 : qk_nope_head_dim, end = keys ? qk_nope_head_dim : rows;
    return mx::slice(by_head, {0, begin, 0}, {heads, end, by_head.shape(2)});
  };
  const mx::array weight = take(".weight");
  if (weight.ndim() != 2 || weight.shape(0) != heads * rows) {
    return weights.note(fmt::format("{} must have {} rows", whole, heads * rows));
  }
  if (!weights.has(whole + ".scales")) {
    put(".embed_q.weight", mx::swapaxes(of_heads(weight, true), 1, 2));
    return put(".unembed_out.weight", of_heads(weight, false));
  }
  const mx::array scales = take(".scales");
  const Quantization q = weights.quantization().of(whole, weight, scales, kv_lora_rank);
  std::optional<mx::array> biases;
  if (q.mode == "affine") biases = take(".biases");
  for (const auto* part : {&scales, biases ? &*biases : &scales}) {
    if (part->ndim() == 2 && part->shape(0) == heads * rows) continue;
    return weights.note(fmt::format("{} must have {} rows of scales and biases", whole, heads * rows));
  }
  const mx::array floats = mx::dequantize(weight, scales, biases, q.group_size, q.bits, q.mode);
  const mx::array embed_q = mx::contiguous(mx::swapaxes(of_heads(floats, true), 1, 2));
  if (!repack || qk_nope_head_dim % q.group_size != 0) {
    put(".embed_q.weight", embed_q);
    put(".unembed_out.weight", of_heads(weight, false));
    put(".unembed_out.scales", of_heads(scales, false));
    if (biases) put(".unembed_out.biases", of_heads(*biases, false));
    return;
  }
  for (const auto& [name, part] :
       {std::pair(".embed_q", embed_q), std::pair(".unembed_out", of_heads(floats, false))}) {
    const std::vector<mx::array> packed = mx::quantize(part, q.group_size, q.bits, q.mode);
    const char* leaves[] = {".weight", ".scales", ".biases"};
    for (size_t i = 0; i < packed.size(); ++i) put(std::string(name) + leaves[i], packed[i]);
  }
}

BlockConfig read_latent_block(const Config& config, const LatentConfig& latent, const BlockOptions& options) {
  Json json = config.json();
  json["head_dim"] = latent.qk_rope_head_dim;  // the dimensions that rope is read for
  json.erase("num_key_value_heads");           // there is one for all, whatever config.json says
  BlockConfig c = read_block(Config(std::move(json), config.place()), options);
  double scale = 1 / std::sqrt(double(latent.qk_nope_head_dim + latent.qk_rope_head_dim));
  if (!c.ropes.empty() && c.ropes.front()) scale *= yarn_score_factor(*c.ropes.front());
  c.attention_scale = static_cast<float>(scale);
  return c;
}

std::unique_ptr<Model> make_latent_decoder(const BlockConfig& c, const LatentConfig& latent, const WeightPath& root) {
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    parts.layers.push_back(make_block(c, layer, path, latent.mixer(c, layer, path)));
    const auto& rope = c.ropes[static_cast<size_t>(layer)];
    if (rope) shape.position_stable_tokens = std::min(shape.position_stable_tokens, rope->position_stable_tokens());
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), root.weights().activation_type());
}

}  // namespace mlxk
