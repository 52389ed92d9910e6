"""Mixtures of experts."""
from .common import TRANSFORMERS_FILES, case

GLM = dict(num_hidden_layers=3, head_dim=16, moe_intermediate_size=32, norm_topk_prob=True, n_group=2, topk_group=1,
           n_shared_experts=1, n_routed_experts=8, routed_scaling_factor=1.5, num_experts_per_tok=2,
           first_k_dense_replace=1, rope_theta=1e4, tie_word_embeddings=False)
BAILING = dict(num_hidden_layers=3, moe_intermediate_size=32, num_experts=8, num_shared_experts=1, norm_topk_prob=True,
               num_experts_per_tok=2, rope_theta=1e4, first_k_dense_replace=1)


def glm(**more):
    """mlx-lm requires the key rope_scaling even if it is null."""
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
    """mlx-lm requires the key rope_scaling even if it is null."""
    text = case("llama4_text", **dict(LLAMA4, **more))
    return dict(model_type="llama4", text_config=text), dict(
        model_type="llama4", text_config=dict(text, rope_scaling=text.get("rope_scaling"))), None


EXPERTS = dict(num_hidden_layers=3, head_dim=16, moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2,
               tie_word_embeddings=False)
LAST_SLIDE = dict(layer_types=["full_attention", "sliding_attention", "sliding_attention"], sliding_window=8)
DBRX = dict(hidden_size=None, num_hidden_layers=None, num_attention_heads=None, num_key_value_heads=None,
            intermediate_size=None, rms_norm_eps=None, max_position_embeddings=None, d_model=64, n_layers=2, n_heads=4,
            max_seq_len=256, attn_config=dict(kv_n_heads=2, clip_qkv=1.0, rope_theta=1e4),
            ffn_config=dict(ffn_hidden_size=32, moe_num_experts=4, moe_top_k=2))
PHIMOE = dict(rope_theta=1e4, num_local_experts=4, num_experts_per_tok=2, router_jitter_noise=0.2)
LONGROPE = dict(type="longrope", short_factor=[1.0 + i / 8 for i in range(8)], long_factor=[2.0 + i for i in range(8)],
                short_mscale=1.2, long_mscale=1.2, original_max_position_embeddings=16)
STEP = dict(num_hidden_layers=3, head_dim=16, num_attention_groups=2, moe_num_experts=4, moe_top_k=2,
            moe_intermediate_size=32, share_expert_dim=48, **LAST_SLIDE)
MIMO = dict(num_hidden_layers=3, rms_norm_eps=None, layernorm_epsilon=1e-5, hybrid_layer_pattern=[0, 1, 1],
            sliding_window_size=8, moe_layer_freq=[0, 1, 1], n_routed_experts=8, num_experts_per_tok=2,
            moe_intermediate_size=32, n_shared_experts=1, routed_scaling_factor=1.5, topk_method="noaux_tc",
            scoring_func="sigmoid", norm_topk_prob=True, n_group=2, topk_group=1, rope_theta=1e6, swa_rope_theta=1e4,
            swa_num_attention_heads=8, swa_num_key_value_heads=4, head_dim=24, v_head_dim=16, swa_head_dim=16,
            swa_v_head_dim=12, partial_rotary_factor=0.5)


def cases():
    return {
        "step3p5": case("step3p5", moe_layers_enum="1,2", rope_theta=[5e5, 1e4, 1e4], partial_rotary_factors=[0.5, 1.0, 1.0],
                        attention_other_setting=dict(num_attention_heads=8, num_attention_groups=4),
                        rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
                        yarn_only_types=["full_attention"], swiglu_limits=[0, 0.1, 0], swiglu_limits_shared=[0.1, 0, 0.05],
                        **STEP),
        "step3p5_plain": case("step3p5", use_head_wise_attn_gate=False, norm_expert_weight=False, **dict(
            STEP, layer_types=None)),
        "mimo_v2_flash": case("mimo_v2_flash", add_swa_attention_sink_bias=True, add_full_attention_sink_bias=False,
                              attention_value_scale=0.7, **MIMO),
        "mimo_v2_flash_sinks": case("mimo_v2_flash", add_swa_attention_sink_bias=False,
                                    add_full_attention_sink_bias=True, **MIMO),
        "exaone_moe": case("exaone_moe", num_shared_experts=1, n_group=2, topk_group=1, routed_scaling_factor=1.5,
                           is_moe_layer=[False, True, True], sliding_window_pattern="GLL", rope_theta=1e4, **LAST_SLIDE,
                           **EXPERTS),
        "exaone_moe_full": case("exaone_moe", num_shared_experts=0, is_moe_layer=[True, False, True], sliding_window=8,
                                layer_types=["full_attention"] * 3, norm_topk_prob=False, rope_theta=1e4, **EXPERTS),
        "exaone_moe_published": (case("exaone_moe", num_shared_experts=1, mlp_layer_types=["dense", "sparse", "sparse"],
                                      pad_token_id=0, rope_theta=1e6, **LAST_SLIDE, **EXPERTS), None, TRANSFORMERS_FILES),
        "solar_open": case("solar_open", **dict(GLM, n_group=1, topk_group=1, partial_rotary_factor=1.0)),
        "afmoe": case("afmoe", num_shared_experts=1, num_dense_layers=1, route_scale=1.5, n_group=2, topk_group=1,
                      **LAST_SLIDE, **EXPERTS),
        "afmoe_published": (case("afmoe", num_shared_experts=1, num_dense_layers=1, route_scale=1.5, mup_enabled=True,
                                 **LAST_SLIDE, **EXPERTS), None, TRANSFORMERS_FILES),
        "mellum": case("mellum", norm_topk_prob=True, rope_parameters=dict(
            full_attention=dict(rope_type="yarn", rope_theta=5e5, factor=4.0, original_max_position_embeddings=16),
            sliding_attention=dict(rope_type="default", rope_theta=1e4)), **LAST_SLIDE, **EXPERTS),
        "klear": case("Klear", attention_bias=True, mlp_only_layers=[1], decoder_sparse_step=1, n_shared_experts=1,
                      norm_topk_prob=True, rope_theta=1e4, **EXPERTS),
        "laguna": case("laguna", num_attention_heads_per_layer=[4, 8, 4], shared_expert_intermediate_size=48,
                       moe_routed_scaling_factor=1.5, rope_parameters=dict(
                           full_attention=dict(rope_type="yarn", rope_theta=5e5, factor=4.0, partial_rotary_factor=0.5,
                                               original_max_position_embeddings=16),
                           sliding_attention=dict(rope_type="default", rope_theta=1e4)), **LAST_SLIDE, **EXPERTS),
        "laguna_plain": case("laguna", gating=False, qkv_bias=True, attention_bias=True, shared_expert_intermediate_size=48,
                             mlp_layer_types=["sparse", "dense", "sparse"], **EXPERTS),
        "dbrx": case("dbrx", **DBRX),
        "phimoe": case("phimoe", **PHIMOE),
        "phimoe_published": (case("phimoe", attention_bias=True, lm_head_bias=True, **PHIMOE), None, TRANSFORMERS_FILES),
        "rope_longrope_phimoe": case("phimoe", rope_scaling=LONGROPE, original_max_position_embeddings=16, **PHIMOE),
        "hunyuan": case("hunyuan", **HUNYUAN),
        "hunyuan_lists": case("hunyuan", **dict(HUNYUAN, moe_topk=[1, 2], num_shared_expert=[1, 2], use_qk_norm=False,
                                                moe_intermediate_size=[32, 48], attention_bias=True)),
        "hunyuan_cla": case("hunyuan", **dict(HUNYUAN, num_hidden_layers=5, use_cla=True)),
        "ernie4_5_moe": case("ernie4_5_moe", **ERNIE),
        "ernie4_5_moe_bias": case("ernie4_5_moe", **dict(ERNIE, use_bias=True, moe_gate_act="sigmoid", head_dim=24,
                                                         moe_layer_end_index=1, tie_word_embeddings=True)),
        "llama4": llama4(),
        "llama4_scaled": llama4(use_qk_norm=False, interleave_moe_layer_step=1, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)),
        # Of the layers' queries and keys, those with rope are normed.
        "llama4_text_published": (case("llama4_text", no_rope_layers=[1, 0, 1, 0], tie_word_embeddings=False,
                                       **dict(LLAMA4, attn_temperature_tuning=True, rope_scaling=None)), None,
                                  TRANSFORMERS_FILES),
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
