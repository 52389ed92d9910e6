"""Recurrent layers and their hybrids with attention."""
from .common import TRANSFORMERS_FILES, case

LFM2 = dict(num_hidden_layers=3, norm_eps=1e-5, rms_norm_eps=None, conv_bias=False, conv_L_cache=3, rope_theta=1e6,
            layer_types=["conv", "conv", "full_attention"])
BLOCK = dict(block_dim=64, block_multiple_of=32, block_ffn_dim_multiplier=1.25, block_auto_adjust_ff_dim=True)
MAMBA = dict(num_attention_heads=None, num_key_value_heads=None, rms_norm_eps=None, max_position_embeddings=None,
             state_size=16, conv_kernel=4, use_bias=False, use_conv_bias=True, layer_norm_epsilon=1e-5)
MAMBA2 = dict(MAMBA, num_heads=8, head_dim=16, n_groups=2, state_size=24, time_step_limit=[0.0, 100.0],
              time_step_rank="auto", tie_word_embeddings=False)
FALCON_H1 = dict(head_dim=16, mamba_d_ssm=96, mamba_n_heads=6, mamba_d_head=16, mamba_d_state=24, mamba_n_groups=2,
                 mamba_d_conv=4, mamba_rms_norm=False, mamba_norm_before_gate=False, embedding_multiplier=2.0,
                 lm_head_multiplier=1.5, rope_theta=1e6, tie_word_embeddings=True)
MULTIPLIERS = dict(attention_in_multiplier=1.5, attention_out_multiplier=0.75, key_multiplier=0.4,
                   mlp_multipliers=[0.8, 1.25], ssm_in_multiplier=1.25, ssm_out_multiplier=0.7,
                   ssm_multipliers=[0.9, 1.1, 1.3, 0.8, 1.2])
NEMOTRON_H = dict(num_hidden_layers=5, hybrid_override_pattern="M-M*-", attention_bias=False, mamba_num_heads=8,
                  mamba_head_dim=16, mamba_proj_bias=False, ssm_state_size=24, conv_kernel=4, n_groups=2,
                  mlp_bias=False, layer_norm_epsilon=1e-5, use_bias=False, use_conv_bias=True, rms_norm_eps=None)
NEMOTRON_3 = dict(NEMOTRON_H, num_hidden_layers=4, hybrid_override_pattern="ME*E", moe_intermediate_size=32,
                  moe_shared_expert_intermediate_size=48, n_group=2, topk_group=1, n_routed_experts=8,
                  n_shared_experts=1, num_experts_per_tok=2, norm_topk_prob=True, routed_scaling_factor=2.5)
GRANITE = dict(num_hidden_layers=3, layer_types=["mamba", "attention", "mamba"], attention_bias=False,
               embedding_multiplier=3.0, attention_multiplier=0.1, logits_scaling=1.5, residual_multiplier=0.3,
               mamba_n_heads=8, mamba_d_head=16, mamba_proj_bias=False, mamba_d_state=24, mamba_d_conv=4,
               mamba_n_groups=1, mamba_conv_bias=True, position_embedding_type="nope", tie_word_embeddings=True)
JAMBA = dict(num_hidden_layers=4, attn_layer_offset=1, attn_layer_period=2, expert_layer_offset=1,
             expert_layer_period=2, mamba_d_conv=4, mamba_d_state=8, mamba_expand=2, num_experts=4,
             num_experts_per_tok=2, mamba_dt_rank=6, tie_word_embeddings=False)

GRIFFIN = dict(num_hidden_layers=3, num_key_value_heads=1, block_types=["recurrent", "recurrent", "attention"],
               attention_bias=False, conv1d_width=4, logits_soft_cap=2.0, attention_window_size=8, rope_theta=1e4,
               intermediate_size=128)
RWKV7 = dict(num_attention_heads=None, num_key_value_heads=None, rms_norm_eps=None, max_position_embeddings=None,
             norm_eps=1e-5, head_dim=16, a_low_rank_dim=8, v_low_rank_dim=6, gate_low_rank_dim=12,
             decay_low_rank_dim=10, num_hidden_layers=3)


def weigh_by_softmax(model):
    """Jamba's experts are weighed by their share of a softmax over all, as it was trained."""
    import mlx.core as mx

    def mixture(self, x):
        scores = mx.softmax(self.router(x), axis=-1, precise=True)
        ids = mx.argpartition(-scores, kth=self.num_experts_per_tok - 1, axis=-1)[..., :self.num_experts_per_tok]
        weights = mx.take_along_axis(scores, ids, axis=-1)
        return (self.switch_mlp(x, ids) * weights[..., None]).sum(axis=-2)

    from mlx_lm.models.jamba import JambaSparseMoeBlock
    JambaSparseMoeBlock.__call__ = mixture


def norm_by_groups(model):
    """The norm after a scan is per group, as it was trained."""
    import mlx.core as mx
    from mlx_lm.models.falcon_h1 import FalconH1RMSNormGated
    from mlx_lm.models.mamba2 import MambaRMSNormGated

    def norm(self, x, gate):
        groups = getattr(self, "n_groups", 0) or model.args.n_groups
        before_gate = getattr(self, "norm_before_gate", False)
        if not before_gate:
            x = x * gate * mx.sigmoid(gate)
        eps = getattr(self, "variance_epsilon", None) or self.eps
        x = self.weight * mx.fast.rms_norm(mx.unflatten(x, -1, (groups, -1)), None, eps).flatten(-2)
        return x * gate * mx.sigmoid(gate) if before_gate else x

    FalconH1RMSNormGated.__call__ = MambaRMSNormGated.__call__ = norm


def published(model_type, **more):
    """By transformers, with the tensors of its own files."""
    return case(model_type, **more), None, TRANSFORMERS_FILES


def cases():
    return {
        "mamba": case("mamba", **MAMBA, intermediate_size=128, time_step_rank=8),
        "falcon_mamba": case("falcon_mamba", **MAMBA, intermediate_size=128, time_step_rank=4, mixer_rms_eps=1e-6,
                             tie_word_embeddings=False),
        "mamba2": (case("mamba2", **MAMBA2), None, norm_by_groups),
        "mamba2_bias": case("mamba2", **dict(MAMBA2, use_bias=True, use_conv_bias=False, conv_kernel=2, n_groups=1,
                                             time_step_limit=[0.4, 0.9], tie_word_embeddings=True)),
        "falcon_h1": case("falcon_h1", **FALCON_H1),
        "falcon_h1_norm": (case("falcon_h1", **dict(FALCON_H1, mamba_rms_norm=True, tie_word_embeddings=False)), None,
                           norm_by_groups),
        "falcon_h1_norm_before_gate": (case("falcon_h1", **dict(FALCON_H1, mamba_rms_norm=True,
                                                                mamba_norm_before_gate=True, mamba_proj_bias=True,
                                                                projectors_bias=True)), None, norm_by_groups),
        "falcon_h1_published": published("falcon_h1", **dict(FALCON_H1, **MULTIPLIERS, mamba_rms_norm=True,
                                                             mamba_proj_bias=True, projectors_bias=True,
                                                             tie_word_embeddings=False)),
        "mamba_published": published("mamba", **MAMBA, intermediate_size=128, time_step_rank=8),
        "mamba2_published": published("mamba2", **MAMBA2, expand=2),
        "nemotron_h": case("nemotron_h", **NEMOTRON_H),
        "nemotron_h_moe": case("nemotron_h", **NEMOTRON_3),
        "nemotron_h_latent": case("nemotron_h", **dict(NEMOTRON_3, moe_latent_size=24, n_group=1, mamba_proj_bias=True,
                                                       n_shared_experts=None)),
        "granitemoehybrid": case("granitemoehybrid", **GRANITE),
        "granitemoehybrid_moe": case("granitemoehybrid", **dict(GRANITE, position_embedding_type="rope"),
                                     num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=48),
        "jamba": (case("jamba", **JAMBA), None, weigh_by_softmax),
        "recurrent_gemma": case("recurrent_gemma", **GRIFFIN),
        "recurrent_gemma_published": published("recurrent_gemma", **dict(GRIFFIN, rms_norm_eps=1e-3)),
        "rwkv7": case("rwkv7", **RWKV7),
        "rwkv7_tied": case("rwkv7", **dict(RWKV7, head_dim=12, hidden_size=48, tie_word_embeddings=True)),
        "lfm2_moe_published": published("lfm2_moe", **LFM2, moe_intermediate_size=32, num_experts=4,
                                        num_experts_per_tok=2, norm_topk_prob=True, use_expert_bias=True,
                                        num_dense_layers=1),
        "nemotron_h_published": published("nemotron_h", **dict(NEMOTRON_3, hybrid_override_pattern=None,
                                                               num_hidden_layers=None, head_dim=16,
                                                               layers_block_type=["mamba", "moe", "attention", "mlp"])),
        "granitemoehybrid_published": published("granitemoehybrid", **GRANITE, shared_intermediate_size=96,
                                                num_local_experts=0, num_experts_per_tok=0),
        "granitemoehybrid_moe_published": published("granitemoehybrid", **dict(GRANITE, position_embedding_type="rope"),
                                                    num_local_experts=4, num_experts_per_tok=2,
                                                    shared_intermediate_size=48),
        "jamba_published": published("jamba", **dict(JAMBA, expert_layer_period=4)),
        "jamba_dense": case("jamba", **dict(JAMBA, num_experts=1)),
        "lfm2": case("lfm2", **LFM2, **BLOCK),
        "lfm2_conv_bias": case("lfm2", **dict(LFM2, conv_bias=True, conv_L_cache=4, layer_types=None,
                                              full_attn_idxs=[1]),
                               **dict(BLOCK, block_ff_dim=80, block_auto_adjust_ff_dim=False)),
        "lfm2_moe": case("lfm2_moe", **LFM2, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2,
                         norm_topk_prob=True, use_expert_bias=True, num_dense_layers=1),
    }
