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


HUNYUAN = dict(num_experts=4, moe_topk=2, num_shared_expert=1, use_mixed_mlp_moe=True, use_qk_norm=True, use_cla=False,
               cla_share_factor=2, attention_bias=False, rope_theta=1e4, tie_word_embeddings=True,
               rope_scaling=dict(type="dynamic", alpha=1000.0, factor=1.0))
ERNIE = dict(num_hidden_layers=3, moe_num_experts=4, moe_k=2, moe_intermediate_size=32, moe_num_shared_experts=2,
             moe_layer_start_index=1, rope_theta=1e4, use_bias=False, tie_word_embeddings=False)
LLAMA4 = dict(num_hidden_layers=4, head_dim=16, intermediate_size_mlp=80, rope_theta=1e4, attention_bias=False,
              num_local_experts=4, num_experts_per_tok=1, interleave_moe_layer_step=2, attention_chunk_size=8,
              use_qk_norm=True, rope_scaling=None, attn_temperature_tuning=4, floor_scale=8, attn_scale=0.1)
LLAMA4_TEXT = dict(num_hidden_layers=4, head_dim=16, intermediate_size_mlp=80, rope_theta=1e4, use_qk_norm=True)


def llama4(**more):
    """mlx-lm wants the key rope_scaling even where it is null."""
    text = case("llama4_text", **dict(LLAMA4, **more))
    return dict(model_type="llama4", text_config=text), dict(
        model_type="llama4", text_config=dict(text, rope_scaling=text.get("rope_scaling"))), None


def cases():
    return {
        "hunyuan": case("hunyuan", **HUNYUAN),
        "hunyuan_lists": case("hunyuan", **dict(HUNYUAN, moe_topk=[1, 2], num_shared_expert=[1, 2], use_qk_norm=False,
                                                moe_intermediate_size=[32, 48], attention_bias=True)),
        "ernie4_5_moe": case("ernie4_5_moe", **ERNIE),
        "ernie4_5_moe_bias": case("ernie4_5_moe", **dict(ERNIE, use_bias=True, moe_gate_act="sigmoid", head_dim=24,
                                                         moe_layer_end_index=1, tie_word_embeddings=True)),
        "llama4": llama4(),
        "llama4_scaled": llama4(use_qk_norm=False, interleave_moe_layer_step=1, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)),
        "llama4_text": case("llama4_text", tie_word_embeddings=False, no_rope_layers=[1, 1, 1, 1], **LLAMA4_TEXT),
        "llama4_text_rope": case("llama4_text", tie_word_embeddings=True, no_rope_layers=[1, 0, 1, 0],
                                 **dict(LLAMA4_TEXT, use_qk_norm=False)),
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
