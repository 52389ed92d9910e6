"""gpt-oss: sinks, windows, clamped experts, mxfp4."""
from .common import case

GPT_OSS = dict(num_hidden_layers=2, head_dim=16, intermediate_size=64, num_local_experts=4, num_experts_per_tok=2,
               sliding_window=8, rope_theta=1e4, layer_types=["sliding_attention", "full_attention"],
               rope_scaling=dict(rope_type="yarn", factor=32.0, original_max_position_embeddings=16, beta_fast=32.0,
                                 beta_slow=1.0, truncate=False))


def cases():
    return {
        "gpt_oss": case("gpt_oss", **GPT_OSS),
        "quantized_gpt_oss": case("gpt_oss", **GPT_OSS, quantization={"group_size": 32, "bits": 4, "mode": "mxfp4"}),
    }
