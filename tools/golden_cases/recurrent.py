"""Recurrent layers and their hybrids with attention."""
from .common import case

LFM2 = dict(num_hidden_layers=3, norm_eps=1e-5, rms_norm_eps=None, conv_bias=False, conv_L_cache=3, rope_theta=1e6,
            layer_types=["conv", "conv", "full_attention"])
BLOCK = dict(block_dim=64, block_multiple_of=32, block_ffn_dim_multiplier=1.25, block_auto_adjust_ff_dim=True)


def cases():
    return {
        "lfm2": case("lfm2", **LFM2, **BLOCK),
        "lfm2_conv_bias": case("lfm2", **dict(LFM2, conv_bias=True, conv_L_cache=4, layer_types=None,
                                              full_attn_idxs=[1]),
                               **dict(BLOCK, block_ff_dim=80, block_auto_adjust_ff_dim=False)),
        "lfm2_moe": case("lfm2_moe", **LFM2, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2,
                         norm_topk_prob=True, use_expert_bias=True, num_dense_layers=1),
    }
