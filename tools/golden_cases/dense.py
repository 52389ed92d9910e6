"""Dense decoders beside the llama block: other norms, fused matrices, windows, parallel blocks."""
from .common import TRANSFORMERS, case, sliding

GEMMA2 = dict(head_dim=16, query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=3.0)
COHERE = dict(layer_norm_eps=1e-5, logit_scale=0.25, rope_theta=1e4, rms_norm_eps=None)
STABLELM = dict(layer_norm_eps=1e-5, rope_theta=1e4, use_qkv_bias=True, partial_rotary_factor=0.25, rms_norm_eps=None)


def cases():
    return {
        "gemma": (case("gemma", head_dim=24), None, TRANSFORMERS),
        "gemma2": case("gemma2", **GEMMA2),
        "gemma2_window": (case("gemma2", num_hidden_layers=4, sliding_window=8, **GEMMA2), None, TRANSFORMERS),
        "olmo2": case("olmo2", tie_word_embeddings=False),
        "olmo3": case("olmo3", num_hidden_layers=4, sliding_window=8, rope_theta=1e4, tie_word_embeddings=False,
                      rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
        "phi3": case("phi3", tie_word_embeddings=False, partial_rotary_factor=0.75),
        "phi3_window": (case("phi3", tie_word_embeddings=False, sliding_window=8, pad_token_id=0), None, TRANSFORMERS),
        "internlm2": case("internlm2", bias=False),
        "internlm2_bias": case("internlm2", bias=True, tie_word_embeddings=True),
        "glm4": case("glm4", attention_bias=True, head_dim=16, partial_rotary_factor=0.5, rope_theta=1e4),
        "cohere": case("cohere", **COHERE),
        "cohere_qk_norm": case("cohere", use_qk_norm=True, layer_norm_bias=True, attention_bias=True, **COHERE),
        "cohere2": case("cohere2", num_hidden_layers=4, head_dim=16, sliding_window=8, sliding_window_pattern=4, **COHERE),
        "exaone4": case("exaone4", num_hidden_layers=4, head_dim=16, rope_theta=1e6, tie_word_embeddings=True,
                        rope_scaling=dict(rope_type="linear", factor=2.0), sliding_window=8, sliding_window_pattern="LLLG"),
        "starcoder2": case("starcoder2", norm_epsilon=1e-5, rope_theta=1e5, rms_norm_eps=None),
        "starcoder2_window": (case("starcoder2", norm_epsilon=1e-5, rope_theta=1e5, rms_norm_eps=None, sliding_window=8,
                                   hidden_act="gelu_pytorch_tanh"), None, TRANSFORMERS),
        "stablelm": case("stablelm", **STABLELM),
        "stablelm_parallel": case("stablelm", use_parallel_residual=True, qk_layernorm=True, head_dim=None, **STABLELM),
        "nemotron": case("nemotron", norm_eps=1e-5, hidden_act="relu2", partial_rotary_factor=0.5, rms_norm_eps=None),
        "apertus": case("apertus", mlp_bias=False, attention_bias=False, rope_theta=1e4, post_norm=False, qk_norm=True,
                        tie_word_embeddings=False),
    }
