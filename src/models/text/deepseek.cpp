// DeepSeekMoE (https://arxiv.org/abs/2401.06066), DeepSeek-V2 (https://arxiv.org/abs/2405.04434) with latent attention
// and a choice among the best groups of experts, DeepSeek-V3 (https://arxiv.org/abs/2412.19437) with sigmoid scores and
// a bias for the choice, and those that are built like it: Kimi K2 (https://arxiv.org/abs/2507.20534), GLM-4.7-Flash
// and Youtu-LLM, which has no experts, and Mistral 4 (transformers), whose queries grow with their position.
#include <fmt/format.h>

#include "json/json.h"
#include "models/registry.h"
#include "models/text/latent_config.h"

namespace mlxk {
namespace {

constexpr BlockOptions kDeepseek{.defaults = {.tie_word_embeddings = false},
                                 .qkv_bias_key = "attention_bias",
                                 .out_bias_key = "attention_bias",
                                 .mixture = true,
                                 .experts = {.shared = "mlp.shared_experts"}};
constexpr BlockOptions kDeepseekV2{.defaults = {.tie_word_embeddings = false},
                                   .mixture = true,
                                   .experts = {.group_best = 1, .shared = "mlp.shared_experts"}};
constexpr BlockOptions kDeepseekV3{
    .defaults = {.tie_word_embeddings = false}, .mixture = true, .experts = kDeepseekV3Mixture};
constexpr BlockOptions kMistral4{.defaults = {.tie_word_embeddings = false},
                                 .query_scale = true,
                                 .mixture = true,
                                 .experts = {.normalise = true, .eps = 1e-20F, .shared = "mlp.shared_experts"}};

constexpr BlockOptions kYoutu{.mlp_bias_key = "mlp_bias", .theta = 1.6e6};

BlockOptions without_absent_experts(BlockOptions options, const Config& config) {
  options.mixture = config.has("n_routed_experts");
  return options;
}

BlockConfig read_latent(const Config& config, const LatentConfig& latent, const BlockOptions& options) {
  BlockConfig c = read_latent_block(config, latent, without_absent_experts(options, config));
  for (auto& rope : c.ropes) rope->traditional = config.flag_or("rope_interleave", true);
  return c;
}

std::unique_ptr<Model> make_latent(BlockConfig c, const LatentConfig& latent, Weights& weights, bool repack = true) {
  drop_further_layers(c, weights);
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    latent.split_kv_b(c, weights, fmt::format("model.layers.{}.self_attn", layer), repack);
  }
  sanitize_block(c, weights);
  return make_latent_decoder(c, latent, WeightPath(weights));
}

std::unique_ptr<Model> make_v3(const Config& config, Weights& weights) {
  const LatentConfig latent = LatentConfig::read(config);
  BlockConfig c = read_latent(config, latent, kDeepseekV3);
  const std::string method = config.text_or("topk_method", "noaux_tc");
  if (method != "noaux_tc") throw config.bad("topk_method", fmt::format("must be noaux_tc, got {}", method));
  if (c.mixture && c.mixture->rule.top_k == 1) c.mixture->rule.normalise = false;
  return make_latent(std::move(c), latent, weights);
}

}  // namespace

std::unique_ptr<Model> make_deepseek(const Config& config, Weights& weights) {
  return make_block_decoder(without_absent_experts(kDeepseek, config), config, weights);
}

std::unique_ptr<Model> make_deepseek_v2(const Config& config, Weights& weights) {
  const LatentConfig latent = LatentConfig::read(config);
  BlockConfig c = read_latent(config, latent, kDeepseekV2);
  const std::string method = config.text_or("topk_method", "greedy");
  if (method != "greedy" && method != "gready" && method != "group_limited_greedy") {
    throw config.bad("topk_method", fmt::format("must be greedy or group_limited_greedy, got {}", method));
  }
  if (c.mixture) {
    if (method != "group_limited_greedy") c.mixture->rule.groups = c.mixture->rule.top_groups = 1;
    c.mixture->rule.normalise = false;  // regardless of norm_topk_prob, as in both references
  }
  return make_latent(std::move(c), latent, weights, false);
}

std::unique_ptr<Model> make_deepseek_v3(const Config& config, Weights& weights) { return make_v3(config, weights); }
std::unique_ptr<Model> make_kimi_k2(const Config& config, Weights& weights) { return make_v3(config, weights); }

std::unique_ptr<Model> make_glm4_moe_lite(const Config& config, Weights& weights) {
  Json json = {{"rms_norm_eps", 1e-5},
               {"rope_theta", 1e6},
               {"n_shared_experts", 1},
               {"first_k_dense_replace", 1},
               {"routed_scaling_factor", 1.8}};
  json.update(config.json());
  return make_v3(Config(std::move(json), config.place()), weights);
}

std::unique_ptr<Model> make_mistral4(const Config& config, Weights& weights) {
  const LatentConfig latent = LatentConfig::read(config);
  return make_latent(read_latent(config, latent, kMistral4), latent, weights);
}

std::unique_ptr<Model> make_youtu_llm(const Config& config, Weights& weights) {
  const LatentConfig latent = LatentConfig::read(config);
  BlockConfig c = read_latent_block(config, latent, kYoutu);
  for (auto& rope : c.ropes) rope->traditional = config.flag_or("rope_traditional", true);
  return make_latent(std::move(c), latent, weights, false);
}

}  // namespace mlxk
