"""Multi-head latent attention: DeepSeek V2 and V3 and similar models, MiniCPM3."""
from .common import TRANSFORMERS, case

LATENT = dict(num_hidden_layers=3, num_key_value_heads=4, rms_norm_eps=1e-6, kv_lora_rank=32, q_lora_rank=24,
              qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12, rope_theta=1e4)
MOE = dict(LATENT, moe_intermediate_size=32, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=2, n_group=2,
           topk_group=1, first_k_dense_replace=1, routed_scaling_factor=1.5, norm_topk_prob=True)
YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4, beta_slow=1, mscale=0.7,
            mscale_all_dim=0.9)
ONES = [1.0, 1.1, 1.2, 1.3]


def packed(**entries):
    """Sizes whose rows can be packed in groups of 32."""
    return dict(hidden_size=64, kv_lora_rank=64, q_lora_rank=32, qk_nope_head_dim=32, v_head_dim=32, num_hidden_layers=2,
                quantization=dict(group_size=32, bits=4, **entries))


def straight(config):
    """Without q_lora_rank, which must be null for mlx-lm."""
    return config, dict(config, q_lora_rank=None), None


def cases():
    return {
        "deepseek": case("deepseek", num_hidden_layers=3, moe_intermediate_size=32, n_routed_experts=8, n_shared_experts=2,
                         num_experts_per_tok=2, first_k_dense_replace=1, rope_scaling=dict(type="linear", factor=2.0)),
        "deepseek_v2": case("deepseek_v2", **MOE, topk_method="group_limited_greedy", rope_scaling=YARN),
        "deepseek_v2_lite": straight(case("deepseek_v2", **dict(MOE, q_lora_rank=None, n_group=1, attention_bias=True),
                                          topk_method="greedy", rope_scaling=dict(YARN, mscale_all_dim=0.7))),
        "deepseek_v3": case("deepseek_v3", **MOE, rope_scaling=YARN, attention_bias=True),
        "deepseek_v3_plain": case("deepseek_v3", **dict(MOE, n_group=1, moe_layer_freq=2, n_shared_experts=None)),
        "deepseek_v3_dense": straight(case("deepseek_v3", **dict(LATENT, q_lora_rank=None))),
        "kimi_k2": case("kimi_k2", **dict(MOE, n_group=1), rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=1.0)),
        "glm4_moe_lite": case("glm4_moe_lite", **MOE),
        "mistral4": case("mistral4", **MOE, rope_parameters=dict(YARN, rope_theta=1e4, llama_4_scaling_beta=0.1)),
        "youtu_llm": case("youtu_llm", **LATENT, mlp_bias=True, attention_bias=True),
        "minicpm3": (case("minicpm3", **dict(LATENT, v_head_dim=16), scale_emb=3, scale_depth=1.4, dim_model_base=32,
                          tie_word_embeddings=True,
                          rope_scaling=dict(type="longrope", short_factor=ONES, long_factor=ONES,
                                            original_max_position_embeddings=64)), None, TRANSFORMERS),
        "quantized_deepseek_v3": case("deepseek_v3", **dict(MOE, **packed(**{
            "model.layers.0.self_attn.embed_q": dict(group_size=32, bits=8)}))),
        "quantized_deepseek_v2": case("deepseek_v2", **dict(MOE, **packed()), rope_scaling=YARN),
    }
