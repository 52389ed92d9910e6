#!/usr/bin/env python3
"""Records the logits of tiny models as mlx-lm computes them, for src/models/goldens_test.cpp.

Needs mlx-lm 0.32.2. The weights are not stored: fill() here and its twin in the test compute them from each tensor's
name, so that only configurations, tensor shapes and some rows of logits are kept.

    tools/make_model_goldens.py tests/data/models
"""
import json
import pathlib
import sys
import tempfile

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm import utils
from mlx_lm.models.cache import make_prompt_cache

PREFILL, TOTAL = 20, 32
ROWS = [0, 7, 13, 19, 20, 25, 31]  # the positions whose logits are kept
VOCAB = 128


def bits(name, count):
    """`count` well mixed 32-bit numbers that depend on the tensor's name (its FNV-1a hash)."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def fill(name, shape, kind):
    """A tensor of `kind`: norm, float, packed (affine), packed8 (no NaN in E4M3), scale, e8m0, e4m3."""
    raw = bits(name, int(np.prod(shape)))
    unit = (raw >> np.uint32(16)).astype(np.float32) / np.float32(65536) - np.float32(0.5)
    if kind == "norm":
        value = np.float32(1) + unit * np.float32(0.5)
    elif kind == "float":
        value = unit * np.float32(0.5)
    elif kind == "bias":  # of the groups: about minus half the packed range
        value = unit * np.float32(0.05) - np.float32(0.2)
    elif kind == "scale":
        value = (unit + np.float32(1)) * np.float32(0.4)
    elif kind == "packed":
        value = raw
    elif kind == "packed8":
        value = raw & np.uint32(0xBFBFBFBF)
    elif kind == "e8m0":
        value = (np.uint32(122) + raw % np.uint32(3)).astype(np.uint8)
    elif kind == "e4m3":
        value = (np.uint32(0x20) + raw % np.uint32(8)).astype(np.uint8)
    return value.reshape(shape)


def kinds(shapes, config):
    """The kind of every tensor; the scales of an affine layer are divided by its range (see `divide`)."""
    out = {}
    for name, shape in shapes.items():
        path, leaf = name.rsplit(".", 1)
        packed = path + ".scales" in shapes
        q = config.get("quantization", {})
        q = {**q, **q.get(path, {})} if packed else {}
        mode = q.get("mode", "affine")
        if "norm" in path:
            kind = "norm"
        elif packed and leaf == "weight":
            kind = "packed8" if mode == "mxfp8" else "packed"
        elif packed and leaf == "scales":
            kind = {"affine": "scale", "mxfp4": "e8m0", "mxfp8": "e8m0", "nvfp4": "e4m3"}[mode]
        elif packed and leaf == "biases":
            kind = "bias"
        else:
            kind = "float"
        out[name] = {"shape": list(shape), "kind": kind}
        if kind == "scale":
            out[name]["divide"] = 2 ** q["bits"] - 1
    return out


def build(config, folder):
    """Writes the model and returns its tensors' descriptions."""
    model_class, args_class = utils._get_classes(config=config)
    model = model_class(args_class.from_dict(json.loads(json.dumps(config))))
    if config.get("tie_word_embeddings", True) and "gemma" in config["model_type"]:
        getattr(model, "language_model", model).sanitize({})
    if "quantization" in config:
        q = config["quantization"]
        overrides = {k: v for k, v in q.items() if isinstance(v, (dict, bool))}
        import mlx.nn as nn
        nn.quantize(model, group_size=q["group_size"], bits=q["bits"], mode=q.get("mode", "affine"),
                    class_predicate=lambda p, m: overrides.get(p, True) if hasattr(m, "to_quantized") else False)
    shapes = {k: v.shape for k, v in tree_flatten(model.parameters())
              if not k.endswith("._freqs") and "rope" not in k}
    tensors = kinds(shapes, config)
    arrays = {}
    for name, t in tensors.items():
        value = fill(name, t["shape"], t["kind"])
        if "divide" in t:
            value = value / np.float32(t["divide"])
        arrays[name] = mx.array(value)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def logits(folder, tweak=None):
    model, _ = utils.load_model(folder)
    model.set_dtype(mx.float32)
    if tweak:
        tweak(model)
    ids = [(i * 37 + 11) % VOCAB for i in range(TOTAL)]
    cache = make_prompt_cache(model)
    rows = [np.array(model(mx.array([ids[:PREFILL]]), cache=cache)[0])]
    for i in range(PREFILL, TOTAL):
        rows.append(np.array(model(mx.array([ids[i:i + 1]]), cache=cache)[0]))
    return np.concatenate(rows)[ROWS]


BASE = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
            rms_norm_eps=1e-5, vocab_size=VOCAB, max_position_embeddings=256)


def case(model_type, **more):
    config = dict(BASE, model_type=model_type)
    config.update(more)
    return {k: v for k, v in config.items() if v is not None}


def quantized(bits, group, mode="affine", **more):
    return case("llama", hidden_size=128, intermediate_size=128, num_hidden_layers=1, tie_word_embeddings=True,
                quantization=dict(group_size=group, bits=bits, mode=mode, **more))


def sliding(count, every):
    return ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(count)]


YARN = dict(type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4, beta_slow=1)
SHORT, LONG = [1.0 + 0.05 * i for i in range(8)], [1.5 + 0.5 * i for i in range(8)]
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
GEMMA = dict(num_hidden_layers=6, head_dim=32, query_pre_attn_scalar=24, sliding_window=8, sliding_window_pattern=3,
             rope_theta=1e6, rope_local_base_freq=1e4)
MIXTURE = dict(num_hidden_layers=3, head_dim=16, rope_theta=1e6, tie_word_embeddings=False, num_experts=8,
               num_experts_per_tok=2, decoder_sparse_step=1, mlp_only_layers=[1], moe_intermediate_size=32,
               norm_topk_prob=True)


def short_side(model):
    """mlx-lm turns by the long factors always; the reference by the short ones below the original length."""
    for layer in model.model.layers:
        layer.self_attn.rope._freqs = 10000.0 ** (mx.arange(0, 16, 2) / 16) * mx.array(SHORT)


def cases():
    """name → config; or (config, what mlx-lm is given instead, a change to its model)."""
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


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    described, expected = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, entry in cases().items():
            config, oracle, tweak = entry if isinstance(entry, tuple) else (entry, None, None)
            folder = pathlib.Path(scratch) / name
            tensors = build(oracle or config, folder)
            rows = logits(folder, tweak)
            assert np.isfinite(rows).all(), name
            print(f"{name:24} |logits| {np.abs(rows).mean():8.3f} std {rows.std():8.3f}")
            described[name] = {"config": config, "tensors": tensors}
            expected[name] = mx.array(rows.astype(np.float32))
    mx.save_safetensors(str(target / "logits.safetensors"), expected)
    lines = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in described.items())
    (target / "cases.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
