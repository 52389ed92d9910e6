// Llama 3.2 Vision (https://arxiv.org/abs/2407.21783): llama blocks, and between them layers whose tokens attend to the
// images before them. Followed is transformers' mllama, except that tokens before the first image skip these layers
// altogether, as in Meta's own code (llama-models); transformers lets them attend to later images. Loaded without the
// encoder, the model has no such layers.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"
#include "models/text/cross_attention.h"
#include "models/text/language_model.h"

namespace mlxk {
namespace {

constexpr BlockOptions kMllama{.defaults = {.hidden_size = 4096,
                                            .num_hidden_layers = 40,
                                            .num_attention_heads = 32,
                                            .num_key_value_heads = 8,
                                            .vocab_size = 128256,
                                            .intermediate_size = 14336,
                                            .max_position_embeddings = 131072,
                                            .norm_eps = 1e-5,
                                            .tie_word_embeddings = false},
                               .theta = 5e5};

/// For each layer, whether it attends to images.
std::vector<bool> cross_attention_layers(const Config& config, int layers) {
  const Json* list = config.find("cross_attention_layers");
  const Json usual = {3, 8, 13, 18, 23, 28, 33, 38};
  std::vector<bool> crosses(static_cast<size_t>(layers), false);
  if (list && !list->is_array()) throw config.bad("cross_attention_layers", "must be a list");
  for (const Json& layer : list ? *list : usual) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= crosses.size()) {
      throw config.bad("cross_attention_layers",
                       fmt::format("must hold numbers of layers below {}, got {}", layers, layer.dump()));
    }
    crosses[layer.get<size_t>()] = true;
  }
  return crosses;
}

/// Whether no encoder was made, which would have taken the tower's tensors. A checkpoint for text alone, as converted,
/// has neither these nor layers that attend to images.
bool is_text_only(Weights& weights) {
  const auto has = [&](std::string_view part) {
    const auto& tensors = weights.tensors();
    return std::any_of(tensors.begin(), tensors.end(),
                       [&](const auto& entry) { return entry.first.find(part) != std::string::npos; });
  };
  return has(".patch_embedding.") || !has(".cross_attn.");
}

/// The rows of the embedding: those after the vocabulary belong to image tokens.
int embedding_rows(int vocab, Weights& weights) {
  const auto found = weights.tensors().find("model.embed_tokens.weight");
  const bool has_more = found != weights.tensors().end() && found->second.ndim() == 2;
  return has_more ? std::max(vocab, found->second.shape(0)) : vocab;
}

void cut_embedding(int vocab, Weights& weights) {
  for (const char* leaf : {"weight", "scales", "biases"}) {
    const auto found = weights.tensors().find(fmt::format("model.embed_tokens.{}", leaf));
    if (found == weights.tensors().end()) continue;
    mx::array& table = found->second;
    if (table.ndim() == 2 && table.shape(0) > vocab) table = mx::slice(table, {0, 0}, {vocab, table.shape(1)});
  }
}

/// A layer that attends to images. Attention and MLP are multiplied by a gate each before they are added.
class CrossLayer : public DecoderLayer {
 public:
  CrossLayer(const BlockConfig& c, const WeightPath& path)
      : attention_{{make_norm(NormKind::rms, path / "input_layernorm", c.hidden_size, c.norm_eps),
                    Linear(path / "cross_attn" / "q_proj", c.hidden_size, c.num_attention_heads * c.head_dim),
                    std::nullopt, std::nullopt,
                    HeadNorm(RmsNorm(path / "cross_attn" / "q_norm", c.head_dim, c.norm_eps)), std::nullopt,
                    c.head_dim},
                   Linear(path / "cross_attn" / "k_proj", c.hidden_size, c.num_key_value_heads * c.head_dim),
                   Linear(path / "cross_attn" / "v_proj", c.hidden_size, c.num_key_value_heads * c.head_dim),
                   HeadNorm(RmsNorm(path / "cross_attn" / "k_norm", c.head_dim, c.norm_eps)),
                   {c.attention_scale}},
        out_(path / "cross_attn" / "o_proj", c.num_attention_heads * c.head_dim, c.hidden_size),
        attention_gate_(mx::tanh(path.take("cross_attn_attn_gate", {1}))),
        mlp_norm_(path / "post_attention_layernorm", c.hidden_size, c.norm_eps),
        mlp_{std::nullopt, Linear(path / "mlp" / "gate_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp" / "up_proj", c.hidden_size, c.intermediate_size),
             Linear(path / "mlp" / "down_proj", c.intermediate_size, c.hidden_size)},
        mlp_gate_(mx::tanh(path.take("cross_attn_mlp_gate", {1}))) {
    mlp_.activation = c.activation;
  }

  mx::array operator()(const mx::array& x, const LayerCaches& caches, const LayerInputs& in) const override {
    const std::vector<CrossCache::Seen> seen = attention_.update(caches.cross(), in, x.dtype());
    if (seen.empty()) return x;
    const auto gated = [&](const mx::array& y, const mx::array& gate) {
      return mx::multiply(y, mx::astype(gate, y.dtype()));
    };
    mx::array y = mx::add(x, gated(out_(attention_(x, seen)), attention_gate_));
    y = mx::add(y, gated(mlp_.inner(mlp_norm_(y)), mlp_gate_));
    return where_seen(seen, y, x);
  }

  std::vector<std::unique_ptr<Cache>> make_caches(int rows) const override {
    std::vector<std::unique_ptr<Cache>> one;
    one.push_back(std::make_unique<CrossCache>(rows));
    return one;
  }

 private:
  CrossAttention attention_;
  Linear out_;
  mx::array attention_gate_;
  RmsNorm mlp_norm_;
  GatedMlpResidual mlp_;
  mx::array mlp_gate_;
};

}  // namespace

std::unique_ptr<Model> make_mllama(const Config& config, Weights& weights) {
  const bool text_only = is_text_only(weights);
  const Config text = keep_language_model(config, weights);
  BlockConfig c = read_block(text, kMllama);
  const std::vector<bool> crosses = cross_attention_layers(text, c.num_hidden_layers);
  if (std::count(crosses.begin(), crosses.end(), false) == 0) {
    throw text.bad("cross_attention_layers", "must leave a layer that attends to text");
  }
  if (text_only) cut_embedding(c.vocab_size, weights);
  sanitize_block(c, weights);

  const WeightPath root(weights);
  const int vocab = std::exchange(c.vocab_size, embedding_rows(c.vocab_size, weights));
  Decoder::Parts parts{Embedding(root / c.options.names.embedding, c.vocab_size, c.hidden_size)};
  parts.norm = make_norm(c.options.norm, root / c.options.names.norm, c.hidden_size, c.norm_eps);
  if (!c.tie_word_embeddings) {
    parts.head.emplace(root / c.options.names.head, c.hidden_size, vocab);
    parts.tokens_without_logit = c.vocab_size - vocab;
  }
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    if (!crosses[static_cast<size_t>(layer)]) {
      parts.layers.push_back(make_block(c, layer, path));
    } else if (text_only) {
      weights.drop([start = path.path() + "."](const std::string& name) { return name.starts_with(start); });
    } else {
      parts.layers.push_back(std::make_unique<CrossLayer>(c, path));
    }
  }
  return std::make_unique<Decoder>(shape_of(c), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
