#include "models/embedding/encoder_block.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "cpu/phase.h"
#include "kernels/encoder_layer.h"
#include "nn/rope.h"

namespace mlxk {
namespace {

constexpr int kWide = 1 << 20;
using Names = std::initializer_list<const char*>;

}  // namespace

EncoderConfig EncoderConfig::read(const Config& config, const char* activation, double norm_eps) {
  const auto integer = [&](Names names, int high) {
    return static_cast<int>(config.integer(config.present(names), 1, high));
  };
  EncoderConfig c;
  c.model_type = config.text_or("model_type", "");
  c.vocab_size = integer({"vocab_size"}, 1 << 24);
  c.hidden_size = integer({"hidden_size", "dim", "n_embd", "d_model"}, kWide);
  c.num_hidden_layers = integer({"num_hidden_layers", "n_layers", "n_layer"}, 1024);
  c.num_attention_heads = integer({"num_attention_heads", "n_heads", "n_head"}, 4096);
  c.intermediate_size = integer({"intermediate_size", "hidden_dim", "n_inner"}, kWide);
  c.max_position_embeddings = integer({"max_position_embeddings", "n_positions"}, 1 << 30);
  c.type_vocab_size = static_cast<int>(config.integer_or("type_vocab_size", 0, 0, 1024));
  c.norm_eps = static_cast<float>(
      config.number_or(config.present({"layer_norm_eps", "layer_norm_epsilon", "norm_eps"}), norm_eps, 0, 1));
  c.activation = config.text_or(
      config.present({"hidden_act", "activation", "hidden_activation", "activation_function"}), activation);
  if (c.hidden_size % c.num_attention_heads != 0) {
    throw config.bad("hidden_size", fmt::format("must be a multiple of num_attention_heads, got {} and {}",
                                                c.hidden_size, c.num_attention_heads));
  }
  c.head_dim = c.hidden_size / c.num_attention_heads;
  const std::string positions = config.text_or("position_embedding_type", "absolute");
  if (positions.rfind("relative", 0) == 0) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] position_embedding_type '{}' is not built in", config.place(), positions));
  }
  if (config.flag_or("is_decoder", false)) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] is_decoder must be false for an encoder", config.place()));
  }
  return c;
}

mx::array EncoderAttention::operator()(const mx::array& x, const PackedTexts& texts) const {
  const std::vector<mx::array> parts = [&] {
    const PhaseScope scores(Phase::encode);  // 8 bits cost most in the scores
    return qkv(x);
  }();
  PackedAttention attention{parts[0],      parts[1], parts[2],
                            texts.lengths, head_dim, 1 / std::sqrt(static_cast<float>(head_dim))};
  attention.attended = texts.attended;
  attention.window = window;
  attention.rotation = rotation;
  attention.distance_bias = distance_bias;
  return out(attend_within(attention), x);
}

std::optional<mx::array> EncoderBlock::at_once(const mx::array& x, const PackedTexts& texts) const {
  const MlpResidual* mlp = std::get_if<MlpResidual>(&mlp_);
  const EncoderAttention& a = attention_;
  const bool plain = attention_norm_ && mlp_norm_ && !a.qkv.norm && !a.out.norm && a.window == 0 &&
                     a.rotation.pairs() == 0 && !a.distance_bias && a.qkv.linears.size() == 3 && mlp && !mlp->norm &&
                     !mlp->post_norm && a.out.multiplier == 1 && mlp->multiplier == 1 && !a.out.in_norm;
  if (!plain) return std::nullopt;
  std::vector<const Linear*> qkv;
  for (const Linear& linear : a.qkv.linears) qkv.push_back(&linear);
  const Packed& first = a.qkv.packed.of(qkv, std::nullopt);
  const Packed& out = a.out.packed.of({&a.out.out}, std::nullopt);
  const Packed& rest = mlp->packed.of({&mlp->up, &mlp->down}, std::nullopt);
  if (!first || !out || !rest) return std::nullopt;
  return encoder_layer(x,
                       {first, out, rest, attention_norm_->weights(), mlp_norm_->weights(), a.head_dim,
                        1 / std::sqrt(static_cast<float>(a.head_dim)), mlp->activation, texts.lengths, texts.attended});
}

mx::array EncoderBlock::operator()(const mx::array& x, const PackedTexts& texts) const {
  if (auto y = at_once(x, texts)) return *y;
  mx::array h = attention_(x, texts);
  if (attention_norm_) h = (*attention_norm_)(h);
  h = std::visit([&](const auto& mlp) { return mlp(h); }, mlp_);
  return mlp_norm_ ? (*mlp_norm_)(h) : h;
}

Rotation rotation_of(const Config& config, const RopeSettings& settings) {
  if (settings.type == "dynamic" || settings.type == "longrope") {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] rope type '{}' is not built in for encoders", config.place(), settings.type));
  }
  return Rope(settings).rotation(Positions({0}, 1));
}

void sanitize_encoder(Weights& weights, const std::string& prefix) {
  Weights::Tensors renamed;
  const auto end_as = [](std::string& name, const std::string& from, const std::string& to) {
    if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
  };
  for (auto& [old, tensor] : weights.tensors()) {
    std::string name = old.starts_with(prefix) ? old.substr(prefix.size()) : old;
    end_as(name, "LayerNorm.gamma", "LayerNorm.weight");
    end_as(name, "LayerNorm.beta", "LayerNorm.bias");
    if (name.ends_with(".position_ids") || name.ends_with(".token_type_ids")) continue;
    renamed.emplace(std::move(name), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
}

int rows_at(const WeightPath& path) {
  const auto found = path.weights().tensors().find((path / "weight").path());
  return found == path.weights().tensors().end() || found->second.ndim() == 0 ? 0 : found->second.shape(0);
}

void drop_below(Weights& weights, std::initializer_list<const char*> places) {
  weights.drop([&](const std::string& name) {
    return std::any_of(places.begin(), places.end(), [&](const char* place) { return name.starts_with(place); });
  });
}

Linear linear_at(const WeightPath& path, int in, int out) { return Linear(path, in, out, path.has("bias")); }

std::optional<MaskedLmHead> masked_lm_at(const EncoderConfig& c, const MaskedLmPaths& paths,
                                         const std::string& activation, bool tied, bool norm_bias) {
  if (rows_at(paths.dense) == 0) return std::nullopt;
  MaskedLmHead head{linear_at(paths.dense, c.hidden_size, c.hidden_size), read_activation(activation),
                    LayerNorm(paths.norm, c.hidden_size, c.norm_eps, norm_bias)};
  if (!tied) head.decoder = Linear(paths.decoder, c.hidden_size, c.vocab_size);
  const WeightPath& bias = paths.bias.has("bias") ? paths.bias : paths.decoder;
  if (bias.has("bias")) head.bias = bias.take("bias", {c.vocab_size});
  return head;
}

std::optional<ClassHead> class_head_at(const WeightPath& dense, const WeightPath& out, int hidden_size,
                                       Activation activation) {
  const int labels = rows_at(out);
  if (labels == 0 || rows_at(dense) == 0) return std::nullopt;  // without `dense` the head classifies tokens
  return ClassHead{linear_at(out, hidden_size, labels), linear_at(dense, hidden_size, hidden_size), activation};
}

}  // namespace mlxk
