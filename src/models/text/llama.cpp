// The llama block (https://arxiv.org/abs/2302.13971): norm before attention and before a gated MLP, rotary positions,
// grouped keys and values. Each model here is this block with different options; names of tensors and configuration
// keys are those of Hugging Face transformers' files of the same name.
#include "models/registry.h"
#include "models/text/block.h"

namespace mlxk {
namespace {

constexpr const char* kAttentionBias = "attention_bias";
constexpr const char* kMlpBias = "mlp_bias";

constexpr BlockOptions kErnie{
    .qkv_bias_key = "use_bias", .out_bias_key = "use_bias", .mlp_bias_key = "use_bias", .traditional = true};
constexpr BlockOptions kGranite{
    .qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias, .granite_scales = true};
constexpr BlockOptions kHelium{.defaults = {.tie_word_embeddings = false},
                               .qkv_bias_key = kAttentionBias,
                               .mlp_bias_key = kMlpBias,
                               .traditional = true};
constexpr BlockOptions kHunyuan{.defaults = {.tie_word_embeddings = false},
                                .names = {.q_norm = "query_layernorm", .k_norm = "key_layernorm"},
                                .qkv_bias_key = kAttentionBias,
                                .out_bias_key = kAttentionBias,
                                .qk_norm = QkNorm::after_rope,
                                .qk_norm_key = "use_qk_norm"};
constexpr BlockOptions kInternLm3{.defaults = {.tie_word_embeddings = false},
                                  .qkv_bias_key = "qkv_bias",
                                  .out_bias_key = "qkv_bias",
                                  .mlp_bias_key = "bias"};
constexpr BlockOptions kLlama{.qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias};
constexpr BlockOptions kMimo{.defaults = {.tie_word_embeddings = false}, .qkv_bias = true};
constexpr BlockOptions kMiniCpm{
    .defaults = {.tie_word_embeddings = false}, .head_may_be_absent = true, .minicpm_scales = true};
constexpr BlockOptions kMinistral3{.query_scale = true};
constexpr BlockOptions kQwen2{.qkv_bias = true, .theta = 1e6};
constexpr BlockOptions kQwen3{.defaults = {.tie_word_embeddings = false},
                              .qkv_bias_key = kAttentionBias,
                              .out_bias_key = kAttentionBias,
                              .qk_norm = QkNorm::before_rope,
                              .theta = 1e6};
constexpr BlockOptions kQwen3Moe{.defaults = {.tie_word_embeddings = false},
                                 .qkv_bias_key = kAttentionBias,
                                 .out_bias_key = kAttentionBias,
                                 .qk_norm = QkNorm::before_rope,
                                 .theta = 1e6,
                                 .mixture = true};
constexpr BlockOptions kSeedOss{
    .qkv_bias_key = kAttentionBias, .out_bias_key = "attention_out_bias", .mlp_bias_key = kMlpBias};
constexpr BlockOptions kSmolLm3{
    .qkv_bias_key = kAttentionBias, .out_bias_key = kAttentionBias, .mlp_bias_key = kMlpBias, .no_rope_interval = 4};

constexpr BlockOptions kTeleChat3{.defaults = {.tie_word_embeddings = false},
                                  .qkv_bias_key = kAttentionBias,
                                  .out_bias_key = kAttentionBias,
                                  .mlp_bias_key = kMlpBias};

}  // namespace

#define MLXK_LLAMA(name, options)                                              \
  std::unique_ptr<Model> make_##name(const Config& config, Weights& weights) { \
    return make_block_decoder(options, config, weights);                       \
  }
MLXK_LLAMA(ernie4_5, kErnie)
MLXK_LLAMA(granite, kGranite)
MLXK_LLAMA(helium, kHelium)
MLXK_LLAMA(hunyuan_v1_dense, kHunyuan)
MLXK_LLAMA(internlm3, kInternLm3)
MLXK_LLAMA(iquestcoder, kLlama)
MLXK_LLAMA(llama, kLlama)
MLXK_LLAMA(mimo, kMimo)
MLXK_LLAMA(minicpm, kMiniCpm)
MLXK_LLAMA(ministral3, kMinistral3)
MLXK_LLAMA(mistral, kLlama)
MLXK_LLAMA(qwen2, kQwen2)
MLXK_LLAMA(qwen3, kQwen3)
MLXK_LLAMA(qwen3_moe, kQwen3Moe)
MLXK_LLAMA(seed_oss, kSeedOss)
MLXK_LLAMA(smollm3, kSmolLm3)
MLXK_LLAMA(telechat3, kTeleChat3)
MLXK_LLAMA(xverse, kLlama)
#undef MLXK_LLAMA

}  // namespace mlxk
