"""Gemma 3n and 4: per-layer embeddings, shared keys and values, streams, a mixture beside the MLP."""
from .common import TRANSFORMERS_FILES, VOCAB, case, sliding

GEMMA4 = dict(num_hidden_layers=6, head_dim=16, global_head_dim=32, sliding_window=8, num_kv_shared_layers=0,
              hidden_size_per_layer_input=0, vocab_size_per_layer_input=VOCAB, final_logit_softcapping=30.0,
              layer_types=sliding(6, 3))
SHARED = dict(GEMMA4, num_kv_shared_layers=3, hidden_size_per_layer_input=16, use_double_wide_mlp=True)
MOE = dict(GEMMA4, attention_k_eq_v=True, num_global_key_value_heads=1, enable_moe_block=True, num_experts=4,
           top_k_experts=2, moe_intermediate_size=32)
GEMMA3N = dict(num_hidden_layers=6, head_dim=16, sliding_window=8, layer_types=sliding(6, 3), num_kv_shared_layers=3,
               vocab_size_per_layer_input=100, hidden_size_per_layer_input=16, rope_theta=1e6, rope_local_base_freq=1e4,
               final_logit_softcapping=30.0, altup_num_inputs=4, altup_coef_clip=120.0, altup_correct_scale=True,
               altup_active_idx=0, laurel_rank=8, activation_sparsity_pattern=[0.95, 0.8, 0.0, 0.0, 0.0, 0.0])


SHALLOW = dict(num_hidden_layers=2, layer_types=["full_attention"] * 2)


def wrapped(model_type, text_type, **more):
    return dict(model_type=model_type, vocab_size=VOCAB, text_config=case(text_type, **more))


def cases():
    return {
        "gemma4_text": case("gemma4_text", **SHARED),
        "gemma4_text_moe": case("gemma4_text", **MOE),
        "gemma4_text_plain": case("gemma4_text", **dict(SHARED, use_double_wide_mlp=False, tie_word_embeddings=False)),
        "gemma4": wrapped("gemma4", "gemma4_text", **SHARED),
        "gemma4_unified": wrapped("gemma4_unified", "gemma4_unified_text", **dict(MOE, num_attention_heads=4)),
        "gemma3n": wrapped("gemma3n", "gemma3n_text", **GEMMA3N),
        "gemma3n_text": (case("gemma3n_text", **GEMMA3N), None, TRANSFORMERS_FILES),
        # Scores that are not scaled down make deep random models so sharp that the rounding of activations shows.
        "quantized_gemma4": case("gemma4_text", **dict(SHARED, **dict(SHALLOW, num_kv_shared_layers=1, head_dim=32,
                                                               hidden_size_per_layer_input=32)),
                                 quantization=dict(group_size=32, bits=8)),
        "quantized_gemma4_moe": case("gemma4_text", **dict(MOE, num_hidden_layers=1, layer_types=["full_attention"]),
                                     quantization=dict(group_size=32, bits=4)),
    }
