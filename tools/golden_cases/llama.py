"""The llama block and Gemma 3, ropes, packed weights."""
import mlx.core as mx

from .common import TRANSFORMERS, VOCAB, case, quantized, sliding

YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4, beta_slow=1)
SHORT, LONG = [1.0 + 0.05 * i for i in range(8)], [1.5 + 0.5 * i for i in range(8)]
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
GEMMA = dict(num_hidden_layers=6, head_dim=32, query_pre_attn_scalar=24, sliding_window=8, sliding_window_pattern=3,
             rope_theta=1e6, rope_local_base_freq=1e4)
WINDOWS = dict(use_sliding_window=True, sliding_window=8, max_window_layers=2)
MIXTURE = dict(num_hidden_layers=3, head_dim=16, rope_theta=1e6, tie_word_embeddings=False, num_experts=8,
               num_experts_per_tok=2, decoder_sparse_step=1, mlp_only_layers=[1], moe_intermediate_size=32,
               norm_topk_prob=True)


def short_side(model):
    """mlx-lm always rotates by the long factors; the reference by the short ones below the original length."""
    for layer in model.model.layers:
        layer.self_attn.rope._freqs = 10000.0 ** (mx.arange(0, 16, 2) / 16) * mx.array(SHORT)


def cases():
    c = {
        "llama": case("llama"),
        "llama_untied": case("llama", tie_word_embeddings=False),
        "llama_head_dim": case("llama", head_dim=24, attention_bias=True, mlp_bias=True),
        "llama_mha": case("llama", num_key_value_heads=4, rope_traditional=True),
        "llama_sliding": case("llama", num_hidden_layers=4, layer_types=sliding(4, 2), sliding_window=8),
        "rope_linear": case("llama", rope_scaling=dict(type="linear", factor=4.0)),
        "rope_dynamic": case("llama", rope_scaling=dict(type="dynamic", factor=2.0), max_position_embeddings=24),
        "rope_llama3": case("llama", rope_scaling=LLAMA3, rope_theta=5e5),
        "rope_yarn": case("llama", rope_scaling=YARN),
        "rope_yarn_mscale": case("llama", rope_scaling=dict(YARN, type="deepseek_yarn", mscale=0.8, mscale_all_dim=0.5)),
        "rope_telechat": case("llama", rope_scaling=dict(YARN, type="telechat3-yarn")),
        "rope_longrope_long": case("llama", rope_scaling=dict(
            type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=12)),
        "rope_longrope_short": (case("llama", rope_scaling=dict(
            type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=64)), None, short_side),
        "rope_proportional": case("llama", rope_scaling=dict(type="proportional", partial_rotary_factor=0.5)),
        "rope_mrope": case("llama", rope_scaling=dict(type="mrope", mrope_section=[2, 3, 3])),
        "rope_parameters": (case("llama", rope_parameters=dict(LLAMA3, rope_theta=5e5)),
                            case("llama", rope_scaling=LLAMA3, rope_theta=5e5), None),
        "mistral": case("mistral", head_dim=16, tie_word_embeddings=False, sliding_window=8),
        "qwen2": case("qwen2", rope_theta=1e6, tie_word_embeddings=False),
        "qwen2_window": (case("qwen2", num_hidden_layers=4, rope_theta=1e6, tie_word_embeddings=False, **WINDOWS), None,
                         TRANSFORMERS),
        "qwen3_window": (case("qwen3", num_hidden_layers=4, head_dim=16, rope_theta=1e6, tie_word_embeddings=True,
                              **WINDOWS), None, TRANSFORMERS),
        "qwen2_tied": case("qwen2", tie_word_embeddings=True),
        "qwen3": case("qwen3", head_dim=32, rope_theta=1e6, tie_word_embeddings=True),
        "qwen3_parameters": case("qwen3", head_dim=16, tie_word_embeddings=False,
                                 rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        "qwen3_moe": case("qwen3_moe", **MIXTURE),
        "smollm3": case("smollm3", num_hidden_layers=4, rope_theta=5e6),
        "smollm3_list": case("smollm3", num_hidden_layers=3, no_rope_layers=[0, 1, 0]),
        "granite": case("granite", logits_scaling=8.0, attention_multiplier=0.1, embedding_multiplier=3.0,
                        residual_multiplier=0.3, attention_bias=False, mlp_bias=False, rope_theta=1e4),
        "minicpm": case("minicpm", scale_emb=3, scale_depth=1.4, dim_model_base=32, rope_theta=1e4),
        "ministral3": case("ministral3", num_hidden_layers=4, layer_types=sliding(4, 2), sliding_window=8, head_dim=24,
                           rope_parameters=dict(YARN, rope_theta=1e6, llama_4_scaling_beta=0.1, mscale=1.0,
                                                mscale_all_dim=1.0)),
        "mimo": case("mimo", tie_word_embeddings=False),
        "seed_oss": case("seed_oss", head_dim=24, attention_bias=True, attention_out_bias=False, mlp_bias=False,
                         tie_word_embeddings=False),
        "ernie4_5": case("ernie4_5", head_dim=16, rope_theta=5e5, use_bias=True, tie_word_embeddings=True),
        "helium": case("helium", head_dim=16, attention_bias=False, mlp_bias=False, rope_theta=1e4,
                       tie_word_embeddings=False),
        "internlm3": case("internlm3", bias=True, qkv_bias=True, tie_word_embeddings=False),
        "hunyuan_v1_dense": case("hunyuan_v1_dense", head_dim=16, tie_word_embeddings=True,
                                 rope_scaling=dict(type="dynamic", alpha=1000.0, factor=1.0)),
        "gemma3_text": case("gemma3_text", **GEMMA),
        "gemma3_text_linear": case("gemma3_text", **dict(GEMMA, num_hidden_layers=3, num_key_value_heads=1,
                                                         rope_scaling=dict(rope_type="linear", factor=8.0))),
        "gemma3": dict(model_type="gemma3", vocab_size=VOCAB, text_config=case("gemma3_text", **GEMMA)),
        "quantized_override": quantized(4, 64, **{"model.embed_tokens": dict(group_size=32, bits=8),
                                                  "model.layers.0.mlp.down_proj": dict(group_size=128, bits=6)}),
        "quantized_qwen3_moe": case("qwen3_moe", **MIXTURE, quantization={
            "group_size": 32, "bits": 4, "model.layers.0.mlp.gate": dict(group_size=64, bits=8)}),
        "quantized_gemma3": case("gemma3_text", **dict(GEMMA, num_hidden_layers=3),
                                 quantization=dict(group_size=32, bits=8)),
    }
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            c[f"quantized_{bits}_{group}"] = quantized(bits, group)
    c["quantized_mxfp4"] = quantized(4, 32, "mxfp4")
    c["quantized_mxfp8"] = quantized(8, 32, "mxfp8")
    c["quantized_nvfp4"] = quantized(4, 16, "nvfp4")
    return c
