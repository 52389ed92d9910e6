"""Multimodal checkpoints with text-only prompts."""
from .common import TRANSFORMERS_FILES, case

LM = dict(head_dim=16, rope_theta=1e4, tie_word_embeddings=False)
CLIP = dict(model_type="clip_vision_model", hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, image_size=28, patch_size=14, projection_dim=16)
SIGLIP = dict(CLIP, model_type="siglip_vision_model")
QWEN_VIT = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, patch_size=14, out_hidden_size=64)
MROPE = dict(rope_scaling=dict(type="mrope", mrope_section=[2, 3, 3]))
MIXTURE = dict(num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1, mlp_only_layers=[], moe_intermediate_size=32,
               norm_topk_prob=True)
PHI3 = dict(rope_theta=1e4, tie_word_embeddings=False, original_max_position_embeddings=256)


def nested(model_type, text_type, vision=None, **text):
    config = {"model_type": model_type, "text_config": case(text_type, **dict(LM, **text))}
    return config if vision is None else dict(config, vision_config=vision)


def published(model_type, text_type, vision, top=None, **text):
    config = nested(model_type, text_type, vision, pad_token_id=0, **text)
    config.update(image_token_id=127, image_token_index=127, tie_word_embeddings=False, pad_token_id=0)
    return dict(config, **(top or {})), None, TRANSFORMERS_FILES


def cases():
    packed = {"group_size": 32, "bits": 4, "mode": "affine",
              "language_model.model.layers.0.mlp.down_proj": {"group_size": 32, "bits": 8},
              "language_model.lm_head": {"group_size": 64, "bits": 8}}
    flat = {k: v for k, v in dict(LM, **MROPE).items() if k != "head_dim"}
    yarn = dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=16, beta_fast=4,
                beta_slow=1, llama_4_scaling_beta=0.1, mscale=1.0, mscale_all_dim=1.0)
    perceiver = dict(resampler_n_latents=4, resampler_depth=1, resampler_n_heads=2, resampler_head_dim=16,
                     num_key_value_heads=1)
    qwen2 = case("qwen2", rope_theta=1e4, tie_word_embeddings=False)
    return {
        "mistral3": nested("mistral3", "mistral"),
        "mistral3_ministral3": nested("mistral3", "ministral3", rope_parameters=yarn, rope_theta=None,
                                      layer_types=["sliding_attention", "full_attention"], sliding_window=8),
        "quantized_mistral3": dict(nested("mistral3", "mistral", intermediate_size=128), quantization=packed),
        "kimi_vl": nested("kimi_vl", "deepseek_v3", num_hidden_layers=2, head_dim=None, kv_lora_rank=32, q_lora_rank=24,
                          qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=20, n_routed_experts=8, n_group=2,
                          topk_group=1, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=32,
                          first_k_dense_replace=1, routed_scaling_factor=1.5, topk_method="noaux_tc", norm_topk_prob=True,
                          scoring_func="sigmoid", num_key_value_heads=4, tie_word_embeddings=None),
        "lfm2_vl": nested("lfm2-vl", "lfm2", num_hidden_layers=3, norm_eps=1e-5, rms_norm_eps=None, head_dim=None,
                          tie_word_embeddings=None, conv_bias=False, conv_L_cache=3, block_dim=64, block_ff_dim=96,
                          block_multiple_of=32, block_ffn_dim_multiplier=1.0,
                          layer_types=["conv", "conv", "full_attention"],
                          block_auto_adjust_ff_dim=False),
        "llava": nested("llava", "llama"),
        "pixtral": nested("pixtral", "mistral"),
        "qwen2_vl": nested("qwen2_vl", "qwen2_vl_text", head_dim=None, **MROPE),
        "qwen2_5_vl": case("qwen2_5_vl", **flat),
        "qwen3_vl": nested("qwen3_vl", "qwen3_vl_text", **MROPE),
        "qwen3_vl_moe": nested("qwen3_vl_moe", "qwen3_vl_moe_text", **MIXTURE),
        "internvl_chat": ({"model_type": "internvl_chat", "llm_config": qwen2}, qwen2, None),
        "phi3_v": (case("phi3_v", **PHI3), case("phi3", **PHI3), None),
        "llava_published": published("llava", "llama", CLIP),
        "llava_next": published("llava_next", "mistral", CLIP, sliding_window=None),
        "qwen2_5_vl_published": published("qwen2_5_vl", "qwen2_5_vl_text", QWEN_VIT, head_dim=None,
                                          rope_parameters=dict(MROPE["rope_scaling"], rope_theta=1e4)),
        "qwen3_vl_moe_published": published(
            "qwen3_vl_moe", "qwen3_vl_moe_text", dict(QWEN_VIT, num_position_embeddings=16, deepstack_visual_indexes=[]),
            rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[4, 2, 2]), **MIXTURE),
        "aya_vision": published("aya_vision", "cohere2", SIGLIP, num_hidden_layers=4, sliding_window=8,
                                sliding_window_pattern=4, layer_norm_eps=1e-5, rms_norm_eps=None,
                                logit_scale=1.0, tie_word_embeddings=True, top=dict(tie_word_embeddings=True)),
        "internvl": published("internvl", "qwen2", dict(
            model_type="internvl_vision", hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, image_size=[28, 28], patch_size=[14, 14]), head_dim=None),
        "llava_onevision": published("llava_onevision", "qwen2", SIGLIP, head_dim=None),
        "idefics2": published("idefics2", "mistral", dict(SIGLIP, model_type="idefics2"), sliding_window=None,
                              top=dict(perceiver_config=perceiver)),
        "idefics3": published("idefics3", "llama", dict(SIGLIP, model_type="idefics3_vision")),
        "smolvlm": published("smolvlm", "llama", dict(SIGLIP, model_type="smolvlm_vision")),
        "paligemma": published("paligemma", "gemma", SIGLIP, tie_word_embeddings=True, head_dim=16,
                               top=dict(tie_word_embeddings=True, projection_dim=64)),
        "paligemma2": published("paligemma", "gemma2", SIGLIP, tie_word_embeddings=True, head_dim=16, sliding_window=8,
                                query_pre_attn_scalar=16, top=dict(tie_word_embeddings=True, projection_dim=64)),
        "mllama": published("mllama", "mllama_text_model", dict(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_global_layers=1, num_attention_heads=2,
            attention_heads=2, image_size=28, patch_size=14, max_num_tiles=4, intermediate_layers_indices=[0],
            vision_output_dim=64, supported_aspect_ratios=[[1, 1]]), head_dim=None, num_hidden_layers=3,
            cross_attention_layers=[1], max_position_embeddings=256),
    }
