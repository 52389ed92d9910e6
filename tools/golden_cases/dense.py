"""Dense decoders other than the llama block: other norms, fused matrices, windows, parallel blocks."""
from .common import TRANSFORMERS, TRANSFORMERS_FILES, case, sliding

GEMMA2 = dict(head_dim=16, query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=3.0)
COHERE = dict(layer_norm_eps=1e-5, logit_scale=0.25, rope_theta=1e4, rms_norm_eps=None)
STABLELM = dict(layer_norm_eps=1e-5, rope_theta=1e4, use_qkv_bias=True, partial_rotary_factor=0.25, rms_norm_eps=None)
EXAONE = dict(num_layers=2, layer_norm_epsilon=1e-5, rope_theta=1e4, num_hidden_layers=None, rms_norm_eps=None)
QWEN = dict(num_key_value_heads=None, rms_norm_eps=None, layer_norm_epsilon=1e-6, kv_channels=16, intermediate_size=192)
OPENELM = dict(hidden_size=None, num_hidden_layers=None, num_attention_heads=None, num_key_value_heads=None,
               intermediate_size=None, rms_norm_eps=None, model_dim=64, num_transformer_layers=2, head_dim=16,
               ffn_dim_divisor=16, num_query_heads=[2, 4], num_kv_heads=[1, 2], ffn_multipliers=[0.5, 1.3])
LILLE = dict(hidden_size=None, num_hidden_layers=None, num_attention_heads=None, num_key_value_heads=None,
             intermediate_size=None, rms_norm_eps=None, n_embd=64, n_layer=2, n_head=4, n_kv_heads=2, block_size=256,
             layer_norm_eps=1e-5, rope_theta=1e4)
TWO_ROPES = dict(full_attention=dict(rope_type="default", rope_theta=1e6, partial_rotary_factor=0.5),
                 sliding_attention=dict(rope_type="default", rope_theta=1e4))


def cases():
    return {
        "exaone": case("exaone", **EXAONE),
        "exaone_bias": case("exaone", attention_bias=True, mlp_bias=True, tie_word_embeddings=False, **EXAONE),
        "glm": (case("glm", head_dim=16, attention_bias=True, pad_token_id=0), None, TRANSFORMERS_FILES),
        "glm_whole": case("glm", head_dim=16, partial_rotary_factor=1.0, tie_word_embeddings=False),
        "qwen": case("qwen", **QWEN),
        "qwen_bias": case("qwen", no_bias=False, **QWEN),
        "olmo": (case("olmo", rms_norm_eps=None, pad_token_id=0), None, TRANSFORMERS_FILES),
        "olmo_clip": (case("olmo", rms_norm_eps=None, pad_token_id=0, clip_qkv=0.5, attention_bias=True), None,
                      TRANSFORMERS_FILES),
        "openelm": case("openelm", **OPENELM),
        "openelm_plain": case("openelm", normalize_qk_projections=False, share_input_output_layers=False, **OPENELM),
        "nanochat": case("nanochat"),
        "nanochat_published": (case("nanochat", pad_token_id=0, final_logit_softcapping=5.0), None, TRANSFORMERS_FILES),
        "telechat3": case("telechat3", rope_theta=1e4, tie_word_embeddings=True, attention_bias=True, rope_scaling=dict(
            type="telechat3-yarn", factor=4.0, original_max_position_embeddings=16)),
        "plamo": case("plamo", num_key_value_heads=None, n_shared_head=2, rope_theta=1e4),
        "lille_130m": case("lille-130m", **LILLE),
        "nanbeige": case("nanbeige", num_loops=2),
        "nanbeige_skip": case("nanbeige", loop_loss_weights=[1.0, 1.0], skip_loop_final_norm=True, attention_bias=True,
                              mlp_bias=True, tie_word_embeddings=True),
        "spark2_5": case("spark2_5", num_hidden_layers=4, head_dim=16, sliding_window=8, rope_parameters=TWO_ROPES),
        "muse_glimmer": case("muse_glimmer", num_hidden_layers=4, head_dim=16, sliding_window=8),
        "muse_glimmer_ropes": case("muse_glimmer", head_dim=16, layer_types=["full_attention", "sliding_attention"],
                                   sliding_window=8, layer_rope_theta=[5e5, 0], tie_word_embeddings=True),
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
