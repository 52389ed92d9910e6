"""Gated DeltaNet beside attention."""
from .common import TRANSFORMERS_FILES, case

DELTA = dict(num_hidden_layers=4, head_dim=16, tie_word_embeddings=False, linear_num_key_heads=2,
             linear_num_value_heads=4, linear_key_head_dim=16, linear_value_head_dim=24, linear_conv_kernel_dim=4)
MIXTURE = dict(num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1, moe_intermediate_size=32,
               shared_expert_intermediate_size=48, norm_topk_prob=True)
NEXT = dict(DELTA, rope_theta=1e4, partial_rotary_factor=0.5, **MIXTURE)
ROPE = dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5, mrope_section=[2, 1, 1],
            mrope_interleaved=True)
KIMI = dict(num_hidden_layers=4, head_dim=16, rope_theta=1e4, model_max_length=256, tie_word_embeddings=False,
            linear_attn_config=dict(kda_layers=[1, 2, 4], full_attn_layers=[3], num_heads=2, head_dim=24,
                                    short_conv_kernel_size=4),
            kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=20, num_experts=8,
            moe_intermediate_size=32, num_experts_per_token=2, num_shared_experts=1, routed_scaling_factor=1.5,
            first_k_dense_replace=1, num_expert_group=2, topk_group=1, mla_use_nope=True)


def nested(model_type, **more):
    return {"model_type": model_type, "text_config": case(f"{model_type}_text", rope_parameters=ROPE, **dict(DELTA, **more))}


def cases():
    packed = {"group_size": 32, "bits": 4, "mode": "affine"}
    for layer in range(2):
        packed[f"language_model.model.layers.{layer}.mlp.gate"] = {"group_size": 64, "bits": 8}
    wide = dict(linear_key_head_dim=32, linear_value_head_dim=32, num_hidden_layers=2, full_attention_interval=2)
    return {
        "qwen3_next": case("qwen3_next", mlp_only_layers=[1], **NEXT),
        "qwen3_next_interval": case("qwen3_next", mlp_only_layers=[], full_attention_interval=2, attention_bias=True,
                                    **dict(NEXT, norm_topk_prob=False, linear_num_key_heads=4, linear_conv_kernel_dim=2)),
        "qwen3_5": nested("qwen3_5", tie_word_embeddings=True),
        "qwen3_5_flat": case("qwen3_5", **dict(DELTA, linear_value_head_dim=16), rope_parameters=ROPE),
        "qwen3_5_moe": nested("qwen3_5_moe", intermediate_size=None, **MIXTURE),
        "quantized_qwen3_5_moe": dict(nested("qwen3_5_moe", intermediate_size=None, **wide,
                                             **dict(MIXTURE, shared_expert_intermediate_size=64)), quantization=packed),
        "kimi_linear": case("kimi_linear", **KIMI),
        "kimi_linear_published": (case("kimi_linear", pad_token_id=0, num_key_value_heads=4, **KIMI), None, TRANSFORMERS_FILES),
        "olmo_hybrid": case("olmo_hybrid", linear_allow_neg_eigval=True, attention_bias=False, rope_theta=1e4, **DELTA),
        "olmo_hybrid_plain": case("olmo_hybrid", linear_allow_neg_eigval=False, attention_bias=True, rope_parameters=dict(
            rope_theta=None), layer_types=["full_attention", "linear_attention"], **dict(DELTA, num_hidden_layers=2)),
        # Published files: norms with the factor 1 + weight, convolutions as PyTorch has them, a list of layer types.
        "qwen3_5_published": (case("qwen3_5_text", **dict(DELTA, num_hidden_layers=3), rope_parameters=ROPE, layer_types=[
            "linear_attention", "full_attention", "linear_attention"]), None, TRANSFORMERS_FILES),
        "qwen3_next_published": (case("qwen3_next", mlp_only_layers=[], **dict(NEXT, num_hidden_layers=2), layer_types=[
            "linear_attention", "full_attention"]), None, TRANSFORMERS_FILES),
    }
