// Apertus (https://arxiv.org/abs/2509.14233): a llama block with norms of queries and keys, and an MLP without a gate
// whose activation, xIELU (https://arxiv.org/abs/2411.13010), has trained parameters in each layer.
#include "json/json.h"
#include "mlx/ops.h"
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr BlockOptions kApertus{.defaults = {.norm_eps = 1e-5, .tie_word_embeddings = false},
                                .names = {.attention_norm = "attention_layernorm", .mlp_norm = "feedforward_layernorm"},
                                .qkv_bias_key = "attention_bias",
                                .out_bias_key = "attention_bias",
                                .mlp_bias_key = "mlp_bias",
                                .qk_norm = QkNorm::before_rope,
                                .gated = false,
                                .theta = 1.2e7};

/// alpha_p, alpha_n, beta and eps of one layer, each a single number in any shape.
mx::array take_xielu(const WeightPath& path) {
  std::vector<mx::array> numbers;
  for (const char* name : {"alpha_p", "alpha_n", "beta", "eps"}) {
    Weights& weights = path.weights();
    const std::string whole = (path / name).path();
    const auto found = weights.tensors().find(whole);
    if (found != weights.tensors().end() && found->second.size() == 1) found->second = mx::reshape(found->second, {});
    const mx::array number = weights.take_to_compute(whole);
    if (number.size() != 1) weights.note(whole + " must be a single number");
    numbers.push_back(mx::slice(mx::astype(mx::flatten(number), mx::float32), {0}, {1}));
  }
  return path.weights().keep(mx::concatenate(numbers));
}

}  // namespace

std::unique_ptr<Model> make_apertus(const Config& config, Weights& weights) {
  Json json = config.json();
  json.erase("hidden_act");  // "xielu": made from each layer's own numbers below
  BlockConfig c = read_block(Config(std::move(json), config.place()), kApertus);
  sanitize_block(c, weights);
  const WeightPath root(weights);
  Decoder::Parts parts = block_parts(c, root);
  ModelShape shape = shape_of(c);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const WeightPath path = root / c.options.names.layers / layer;
    c.activation = Activation(Activation::xielu);
    c.activation.parameters = take_xielu(path / "mlp" / "act_fn");
    parts.layers.push_back(make_block(c, layer, path));
    shape.position_stable_tokens =
        std::min(shape.position_stable_tokens, c.ropes[static_cast<size_t>(layer)]->position_stable_tokens());
  }
  return std::make_unique<Decoder>(std::move(shape), std::move(parts), weights.activation_type());
}

}  // namespace mlxk
