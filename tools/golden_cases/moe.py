"""Mixtures of experts."""
from .common import case

GLM = dict(num_hidden_layers=3, head_dim=16, moe_intermediate_size=32, norm_topk_prob=True, n_group=2, topk_group=1,
           n_shared_experts=1, n_routed_experts=8, routed_scaling_factor=1.5, num_experts_per_tok=2,
           first_k_dense_replace=1, rope_theta=1e4, tie_word_embeddings=False)
BAILING = dict(num_hidden_layers=3, moe_intermediate_size=32, num_experts=8, num_shared_experts=1, norm_topk_prob=True,
               num_experts_per_tok=2, rope_theta=1e4, first_k_dense_replace=1)


def glm(**more):
    """mlx-lm wants the key rope_scaling even where it is null."""
    config = case("glm4_moe", partial_rotary_factor=0.5, **dict(GLM, **more))
    return config, dict(config, rope_scaling=None), None


def cases():
    return {
        "mixtral": case("mixtral", num_local_experts=4, num_experts_per_tok=2),
        "granitemoe": case("granitemoe", num_local_experts=4, num_experts_per_tok=2, logits_scaling=8.0,
                           attention_multiplier=0.1, embedding_multiplier=3.0, residual_multiplier=0.3,
                           attention_bias=False, rope_theta=1e4),
        "minimax": case("minimax", num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=0, rope_theta=1e4,
                        rotary_dim=8, head_dim=16),
        "minimax_m2": case("minimax_m2", num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=0,
                           rope_theta=1e4, rotary_dim=12, head_dim=24, use_qk_norm=False),
        "qwen2_moe": case("qwen2_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
                          shared_expert_intermediate_size=48, rope_theta=1e6),
        "olmoe": case("olmoe", num_experts=4, num_experts_per_tok=2, norm_topk_prob=True, tie_word_embeddings=False),
        "glm4_moe": glm(use_qk_norm=True, attention_bias=True),
        "glm4_moe_plain": glm(use_qk_norm=False, attention_bias=False, n_group=1, topk_group=1),
        "dots1": case("dots1", **dict(GLM, n_group=1, topk_group=1, scoring_func="noaux_tc")),
        "bailing_moe": case("bailing_moe", **BAILING),
        "bailing_moe_sigmoid": case("bailing_moe", score_function="sigmoid", moe_router_enable_expert_bias=True,
                                    n_group=2, topk_group=1, use_qk_norm=True, partial_rotary_factor=0.5,
                                    routed_scaling_factor=2.5, use_qkv_bias=True, **BAILING),
    }
