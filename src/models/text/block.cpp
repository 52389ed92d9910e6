#include "models/text/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

WeightPath below(const WeightPath& path, const char* name) { return *name == '\0' ? path : path / name; }

std::vector<bool> read_rope_layers(const Config& config, int layers, int interval) {
  std::vector<bool> rotates;
  if (interval > 0) interval = static_cast<int>(config.integer_or("no_rope_layer_interval", interval, 1, 1 << 20));
  for (int layer = 0; layer < layers; ++layer) rotates.push_back(interval == 0 || (layer + 1) % interval != 0);
  const Json* list = config.find("no_rope_layers");
  if (interval == 0 || !list) return rotates;
  if (!list->is_array() || list->size() != static_cast<size_t>(layers)) {
    throw config.bad("no_rope_layers", fmt::format("must have {} entries", layers));
  }
  for (int layer = 0; layer < layers; ++layer) {
    const Json& value = (*list)[layer];
    if (!value.is_number_integer() && !value.is_boolean()) throw config.bad("no_rope_layers", "must hold 0 and 1");
    rotates[layer] = value.is_boolean() ? value.get<bool>() : value.get<int64_t>() != 0;  // 1 means: with rope
  }
  return rotates;
}

void read_scales(const Config& config, BlockConfig& c) {
  const auto number = [&](const char* key) { return static_cast<float>(config.number(key, 1e-9, 1e9)); };
  const auto number_or = [&](const char* key) { return static_cast<float>(config.number_or(key, 0, 0, 1e9)); };
  if (c.options.granite_scales) {
    c.attention_scale = number("attention_multiplier");
    c.embedding_multiplier = number("embedding_multiplier");
    c.residual_multiplier = number("residual_multiplier");
    c.logit_divisor = number("logits_scaling");
  }
  if (c.options.minicpm_scales) {
    c.embedding_multiplier = number("scale_emb");
    c.residual_multiplier = number("scale_depth") / std::sqrt(static_cast<float>(c.num_hidden_layers));
    c.logit_divisor = static_cast<float>(c.hidden_size) / number("dim_model_base");
  }
  if (c.options.query_scale) {
    Config rope = config.object("rope_parameters");
    c.query_scale_beta = static_cast<float>(rope.number("llama_4_scaling_beta", 0, 1e6));
    c.query_scale_positions = static_cast<float>(rope.integer("original_max_position_embeddings", 1, int64_t{1} << 31));
  }
  c.attention_soft_cap = number_or("attn_logit_softcapping");
  c.final_soft_cap = number_or("final_logit_softcapping");
}

std::optional<Norm> optional_norm(const BlockConfig& c, const WeightPath& path, const char* name) {
  if (!name) return std::nullopt;
  return make_norm(c.options.norm, below(path, name), c.hidden_size, c.norm_eps);
}

std::optional<HeadNorm> head_norm(const BlockConfig& c, const WeightPath& attention, const char* name, QkNorm where,
                                  int heads) {
  const BlockOptions& o = c.options;
  if (o.qk_norm != where || !name) return std::nullopt;
  if (o.qk_norm_kind == NormKind::layer_by_head) {
    HeadNorm norm(LayerNorm(c.head_dim, c.norm_eps));
    norm.factor = (attention / name).take("weight", {heads, c.head_dim});
    return norm;
  }
  const int dims = o.qk_norm_whole ? heads * c.head_dim : c.head_dim;
  return HeadNorm(make_norm(o.qk_norm_kind, attention / name, dims, c.norm_eps), o.qk_norm_whole);
}

NormQkv make_qkv(const BlockConfig& c, const WeightPath& path, std::optional<Norm> norm) {
  const BlockOptions& o = c.options;
  const BlockNames& n = o.names;
  const WeightPath attention = below(path, n.attention);
  const int q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const int own = o.gate_in_q ? 2 * q : q;
  const auto linear = [&](const char* name, int out) {
    return Linear(attention / name, c.hidden_size, out, c.qkv_bias);
  };
  const auto linear_if = [&](const char* name, int out) {
    return name ? std::optional(linear(name, out)) : std::nullopt;
  };
  const auto q_norm = head_norm(c, attention, n.q_norm, QkNorm::before_rope, c.num_attention_heads);
  const auto k_norm = head_norm(c, attention, n.k_norm, QkNorm::before_rope, c.num_key_value_heads);
  const auto block = [&](Linear q, std::optional<Linear> k, std::optional<Linear> v) {
    NormQkv block{std::move(norm), std::move(q), std::move(k), std::move(v), q_norm, k_norm, c.head_dim};
    block.gate_in_q = o.gate_in_q;
    if (o.v_norm) block.v_norm = HeadNorm(RmsNorm(c.head_dim, c.norm_eps));
    if (n.attention_gate) {
      const WeightPath gate = attention / n.attention_gate;
      const auto found = path.weights().tensors().find((gate / "weight").path());
      const bool by_head = found != path.weights().tensors().end() && found->second.ndim() == 2 &&
                           found->second.shape(0) == c.num_attention_heads;
      block.gate = Linear(gate, c.hidden_size, by_head ? c.num_attention_heads : q.out());
    }
    return block;
  };
  if (!n.qkv) return block(linear(n.q, own), linear_if(n.k, kv), linear_if(n.v, kv));
  Linear all = linear(n.qkv, own + 2 * kv);
  if (!o.qkv_by_groups) {
    std::vector<Linear> parts = all.split({own, kv, kv});
    return block(parts[0], parts[1], parts[2]);
  }
  NormQkv grouped = block(std::move(all), std::nullopt, std::nullopt);
  grouped.grouped_heads = c.num_attention_heads / c.num_key_value_heads;
  return grouped;
}

SelfAttention make_attention(const BlockConfig& c, int layer, const WeightPath& path, std::optional<Norm> norm) {
  const BlockNames& n = c.options.names;
  const WeightPath attention = below(path, n.attention);
  const auto& rope = c.ropes[static_cast<size_t>(layer)];
  AttentionScores scores(c.attention_scale, c.attention_soft_cap);
  if (n.sinks) scores.sinks = mx::astype(attention.take(n.sinks, {c.num_attention_heads}), mx::float32);
  return {make_qkv(c, path, std::move(norm)),
          {rope ? std::optional(Rope(*rope)) : std::nullopt,
           head_norm(c, attention, n.q_norm, QkNorm::after_rope, c.num_attention_heads),
           head_norm(c, attention, n.k_norm, QkNorm::after_rope, c.num_key_value_heads), std::move(scores)},
          {Linear(attention / n.o, c.num_attention_heads * c.head_dim, c.hidden_size, c.out_bias),
           optional_norm(c, path, n.attention_post_norm), c.residual_multiplier}};
}

using Mlp = std::variant<GatedMlpResidual, MlpResidual, MixtureResidual>;

Mlp make_mlp(const BlockConfig& c, int layer, const WeightPath& path, std::optional<Norm> norm) {
  const BlockNames& n = c.options.names;
  std::optional<Norm> post_norm = optional_norm(c, path, n.mlp_post_norm);
  if (c.mixes(layer)) {
    MixtureResidual mixture =
        c.mixture->make(path, std::move(norm), c.hidden_size, c.activation, c.residual_multiplier);
    mixture.post_norm = std::move(post_norm);
    return mixture;
  }
  const WeightPath mlp = below(path, n.mlp);
  Linear down(mlp / n.down, c.intermediate_size, c.hidden_size, c.mlp_bias);
  if (!c.options.gated) {
    return MlpResidual{std::move(norm),      Linear(mlp / n.up, c.hidden_size, c.intermediate_size, c.mlp_bias),
                       std::move(down),      c.activation,
                       std::move(post_norm), c.residual_multiplier};
  }
  std::vector<Linear> wide;
  if (const char* both = n.gate_up ? n.gate_up : n.up_gate) {
    wide = Linear(mlp / both, c.hidden_size, 2 * c.intermediate_size, c.mlp_bias)
               .split({c.intermediate_size, c.intermediate_size});
    if (n.up_gate) std::swap(wide[0], wide[1]);
  } else {
    for (const char* name : {n.gate, n.up}) {
      wide.emplace_back(mlp / name, c.hidden_size, c.intermediate_size, c.mlp_bias);
    }
  }
  return GatedMlpResidual{std::move(norm),      wide[0], wide[1], std::move(down), std::move(post_norm), c.activation,
                          c.residual_multiplier};
}

mx::array run(const Mlp& mlp, const mx::array& x) {
  return std::visit([&](const auto& m) { return m(x); }, mlp);
}

class Block : public DecoderLayer {
 public:
  Block(const BlockConfig& c, int layer, const WeightPath& path)
      : norm_(optional_norm(c, path, c.options.names.attention_norm)),
        attention_(make_attention(c, layer, path, norm_)),
        mlp_(make_mlp(c, layer, path, same_norm(c) ? norm_ : optional_norm(c, path, c.options.names.mlp_norm))),
        parallel_(c.parallel),
        window_(c.windows[static_cast<size_t>(layer)]) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    if (parallel_) return attention_(x, caches.attention(), in, run(mlp_, x));
    return run(mlp_, attention_(x, caches.attention(), in));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return attention_cache(rows, window_); }

 private:
  static bool same_norm(const BlockConfig& c) {
    const BlockNames& n = c.options.names;
    return n.attention_norm && n.mlp_norm && std::string_view(n.attention_norm) == n.mlp_norm;
  }

  std::optional<Norm> norm_;
  SelfAttention attention_;
  Mlp mlp_;
  bool parallel_;
  int window_;
};

class MixerBlock : public DecoderLayer {
 public:
  MixerBlock(std::unique_ptr<DecoderLayer> mixer, Mlp mlp) : mixer_(std::move(mixer)), mlp_(std::move(mlp)) {}

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    return run(mlp_, (*mixer_)(x, caches, in));
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override { return mixer_->make_caches(rows); }

 private:
  std::unique_ptr<DecoderLayer> mixer_;
  Mlp mlp_;
};

}  // namespace

Norm make_norm(NormKind kind, const WeightPath& path, int dims, float eps) {
  switch (kind) {
    case NormKind::rms: return RmsNorm(path, dims, eps);
    case NormKind::rms_plus_one: return RmsNorm(path, dims, eps, true);
    case NormKind::rms_plain: return RmsNorm(dims, eps);
    case NormKind::layer: return LayerNorm(path, dims, eps);
    case NormKind::layer_no_bias: return LayerNorm(path, dims, eps, false);
    case NormKind::layer_plus_one: return LayerNorm(path, dims, eps, true, true);
    case NormKind::layer_plain: return LayerNorm(dims, eps);
    case NormKind::layer_by_head: break;
  }
  throw Error(ErrorKind::internal, "[norm] not known");
}

BlockConfig read_block(const Config& config, const BlockOptions& o) {
  const auto flag = [&](const char* key, bool fallback) { return key ? config.flag_or(key, fallback) : fallback; };
  BlockConfig c{DecoderConfig::read(config, o.defaults)};
  c.options = o;
  c.qkv_bias = flag(o.qkv_bias_key, o.qkv_bias);
  c.out_bias = flag(o.out_bias_key, o.out_bias);
  c.mlp_bias = flag(o.mlp_bias_key, o.mlp_bias);
  c.parallel = flag(o.parallel_key, o.parallel);
  if (!flag(o.qk_norm_key, true)) c.options.qk_norm = QkNorm::none;
  c.attention_scale = static_cast<float>(1 / std::sqrt(c.head_dim));
  RopeSettings rope = RopeSettings::read(config, c.head_dim, o.theta, {}, o.partial_rotary);
  rope.traditional = rope.traditional || o.traditional;
  for (const bool rotates : read_rope_layers(config, c.num_hidden_layers, o.no_rope_interval)) {
    c.ropes.push_back(rotates && o.rope ? std::optional(rope) : std::nullopt);
  }
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const LayerType type = c.layer_types[static_cast<size_t>(layer)];
    if (type != LayerType::full && type != LayerType::sliding && type != o.mixer) {
      throw config.bad("layer_types",
                       fmt::format("has a type for layer {} that a {} layer does not have", layer, c.model_type));
    }
    c.windows.push_back(c.window(layer));
  }
  read_scales(config, c);
  if (o.mixture) c.mixture = MixtureConfig::read(config, c.num_hidden_layers, o.experts);
  return c;
}

void sanitize_block(BlockConfig& c, Weights& weights, const std::string& root) {
  const BlockNames& n = c.options.names;
  const std::string base = root.empty() ? "" : root + ".";
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (!c.mixes(layer)) continue;
    const std::string path = fmt::format("{}{}.{}.", base, n.layers, layer), experts = path + c.options.experts.experts;
    const std::string prefix = experts.substr(0, experts.rfind('.'));
    stack_experts(weights, prefix, experts, c.mixture->experts);
    split_gate_up(weights, prefix + ".experts", experts, c.hidden_size);
  }
  const std::string head = base + n.head + ".";
  if (c.options.head_may_be_absent && !weights.has(head + "weight")) c.tie_word_embeddings = true;
  const auto starts = [](const std::string& name, const std::string& start) { return name.rfind(start, 0) == 0; };
  weights.drop([&](const std::string& name) {
    return name.find("rotary_emb.inv_freq") != std::string::npos || name.find("rope.inv_freq") != std::string::npos ||
           starts(name, base + "model.mtp_layers.") || (c.tie_word_embeddings && starts(name, head));
  });
}

void drop_further_layers(const BlockConfig& c, Weights& weights, const std::string& root) {
  const std::string layers = (root.empty() ? "" : root + ".") + c.options.names.layers + ".";
  weights.drop([&](const std::string& name) {
    int layer = 0;
    return name.rfind(layers, 0) == 0 &&
           std::from_chars(name.data() + layers.size(), name.data() + name.size(), layer).ec == std::errc() &&
           layer >= c.num_hidden_layers;
  });
}

SelfAttention make_block_attention(const BlockConfig& c, int layer, const WeightPath& path) {
  return make_attention(c, layer, path, optional_norm(c, path, c.options.names.attention_norm));
}

std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path) {
  return std::make_unique<Block>(c, layer, path);
}

std::unique_ptr<DecoderLayer> make_block(const BlockConfig& c, int layer, const WeightPath& path,
                                         std::unique_ptr<DecoderLayer> mixer) {
  return std::make_unique<MixerBlock>(std::move(mixer),
                                      make_mlp(c, layer, path, optional_norm(c, path, c.options.names.mlp_norm)));
}

Decoder::Parts block_parts(const BlockConfig& c, const WeightPath& root) {
  const BlockNames& n = c.options.names;
  Decoder::Parts parts{Embedding(root / n.embedding, c.vocab_size, c.hidden_size)};
  parts.embedding_multiplier = c.embedding_multiplier;
  if (n.positions) {
    parts.learned_positions =
        (root / n.positions).take("weight", {static_cast<int>(c.max_position_embeddings), c.hidden_size});
  }
  parts.norm = optional_norm(c, root, n.norm);
  if (!c.tie_word_embeddings) parts.head.emplace(root / n.head, c.hidden_size, c.vocab_size, c.options.head_bias);
  parts.logit_multiplier = c.logit_multiplier;
  parts.logit_divisor = c.logit_divisor;
  parts.final_soft_cap = c.final_soft_cap;
  if (!c.options.query_scale) return parts;
  // 1 + beta · ln(1 + ⌊position / original⌋), [B, 1, L, 1].
  parts.prepare = [beta = c.query_scale_beta, original = c.query_scale_positions](const mx::array& h, const Inputs&,
                                                                                  LayerInputs& in) {
    const Positions& at = in.positions;
    const mx::array position = mx::astype(mx::reshape(at.order(), {at.rows(), 1, at.length, 1}), mx::float32);
    const mx::array stretches = mx::floor(mx::divide(position, mx::array(original)));
    in.query_scale = mx::add(mx::array(1.0F), mx::multiply(mx::array(beta), mx::log1p(stretches)));
    return h;
  };
  return parts;
}

std::unique_ptr<Model> make_block_decoder(const BlockConfig& c, const WeightPath& root) {
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    parts.layers.push_back(make_block(c, layer, root / c.options.names.layers / layer));
    const auto& rope = c.ropes[static_cast<size_t>(layer)];
    if (rope) shape.position_stable_tokens = std::min(shape.position_stable_tokens, rope->position_stable_tokens());
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), root.weights().activation_type());
}

std::unique_ptr<Model> make_block_decoder(const BlockOptions& options, const Config& config, Weights& weights) {
  BlockConfig c = read_block(config, options);
  sanitize_block(c, weights);
  return make_block_decoder(c, WeightPath(weights));
}

}  // namespace mlxk
