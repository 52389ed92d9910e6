"""Layer norms, learned positions, parallel attention and MLP: Phi-2 and the GPTs."""
from .common import TRANSFORMERS_FILES, case

PHI = dict(layer_norm_eps=1e-5, rms_norm_eps=None, partial_rotary_factor=0.5)
NEOX = dict(num_key_value_heads=None, rms_norm_eps=None, layer_norm_eps=1e-5, rotary_emb_base=10000, rotary_pct=0.25)
GPT = dict(hidden_size=None, num_hidden_layers=None, num_attention_heads=None, num_key_value_heads=None,
           intermediate_size=None, max_position_embeddings=None, rms_norm_eps=None, n_embd=64, n_layer=2, n_head=4,
           n_positions=64, n_ctx=64, layer_norm_epsilon=1e-5)


def cases():
    return {
        "phi": case("phi", **PHI),
        "phi_norms": (case("phi", qk_layernorm=True, pad_token_id=0, **PHI), None, TRANSFORMERS_FILES),
        "gpt_neox": case("gpt_neox", intermediate_size=None, **NEOX),
        "gpt_neox_sequential": (case("gpt_neox", use_parallel_residual=False, hidden_act="gelu", **NEOX), None,
                                TRANSFORMERS_FILES),
        "gptj": case("gptj", rotary_dim=8, **GPT),
        "gptj_published": (case("gptj", rotary_dim=8, **GPT), None, TRANSFORMERS_FILES),
        "gpt2": case("gpt2", **GPT),
        "gpt2_published": (case("gpt2", **dict(GPT, n_inner=96)), None, TRANSFORMERS_FILES),
        "gpt_bigcode": case("gpt_bigcode", n_inner=96, **GPT),
        "gpt_bigcode_heads": (case("gpt_bigcode", n_inner=96, multi_query=False, activation_function="gelu_pytorch_tanh",
                                   **GPT), None, TRANSFORMERS_FILES),
    }
