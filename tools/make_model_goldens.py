#!/usr/bin/env python3
"""Records the logits of tiny models as mlx-lm computes them, for src/models/goldens_test.cpp.

Needs mlx-lm 0.32.2, for some cases transformers 5.24.0 with torch. The weights are not stored: fill() here and its twin in the test compute them from each tensor's
name, so that only configurations, tensor shapes and some rows of logits are kept. Each case is two files; the cases
themselves stand in tools/golden_cases, a module for each family.

    tools/make_model_goldens.py tests/data/models [CASE…]      # default: all
"""
import importlib
import json
import pathlib
import pkgutil
import shutil
import sys
import tempfile

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm import utils
from mlx_lm.models.cache import make_prompt_cache

import golden_cases
from golden_cases.common import TRANSFORMERS, TRANSFORMERS_FILES, VOCAB

PREFILL, TOTAL = 20, 32
ROWS = [0, 7, 13, 19, 20, 25, 31]  # the positions whose logits are kept


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
        path, _, leaf = name.rpartition(".")
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
    if config.get("tie_word_embeddings", True) and config["model_type"] in ("gemma3", "gemma3_text"):
        getattr(model, "language_model", model).sanitize({})
    if "quantization" in config:
        q = config["quantization"]
        overrides = {k: v for k, v in q.items() if isinstance(v, (dict, bool))}
        import mlx.nn as nn
        nn.quantize(model, group_size=q["group_size"], bits=q["bits"], mode=q.get("mode", "affine"),
                    class_predicate=lambda p, m: overrides.get(p, True) if hasattr(m, "to_quantized") else False)
    shapes = {k: v.shape for k, v in tree_flatten(model.parameters())
              if not k.endswith("._freqs") and "rope" not in k}
    return write(shapes, config, folder)


def build_as_transformers(config, folder):
    """The same with the tensors that transformers saves."""
    transformers_model(config).save_pretrained(folder)
    shapes = {name: array.shape for name, array in sorted(mx.load(str(folder / "model.safetensors")).items())}
    shutil.rmtree(folder)
    return write(shapes, config, folder)


def write(shapes, config, folder):
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


def transformers_class(config):
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    return AutoModelForImageTextToText if "vision_config" in config else AutoModelForCausalLM


def transformers_model(config):
    import torch
    from transformers import AutoConfig
    return transformers_class(config).from_config(AutoConfig.for_model(**json.loads(json.dumps(config))),
                                                  dtype=torch.float32)


def logits_by_transformers(folder):
    import torch
    config = json.loads((folder / "config.json").read_text())
    model, report = transformers_class(config).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32,
                                                               output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    ids = [(i * 37 + 11) % VOCAB for i in range(TOTAL)]
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].numpy()[ROWS]


def all_cases():
    """name → config, or (config, config for mlx-lm, a change to its model), of every module in golden_cases."""
    found = {}
    for module in pkgutil.iter_modules(golden_cases.__path__):
        found.update(getattr(importlib.import_module(f"golden_cases.{module.name}"), "cases", dict)())
    return found


def record(name, entry, target):
    config, oracle, tweak = entry if isinstance(entry, tuple) else (entry, None, None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / name
        tensors = (build_as_transformers if tweak == TRANSFORMERS_FILES else build)(oracle or config, folder)
        by_transformers = tweak in (TRANSFORMERS, TRANSFORMERS_FILES)
        rows = logits_by_transformers(folder) if by_transformers else logits(folder, tweak)
    assert np.isfinite(rows).all(), name
    print(f"{name:24} |logits| {np.abs(rows).mean():8.3f} std {rows.std():8.3f}")
    mx.save_safetensors(str(target / f"{name}.safetensors"), {"logits": mx.array(rows.astype(np.float32))})
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in tensors.items())
    (target / f"{name}.json").write_text(f'{{"config": {json.dumps(config)},\n"tensors": {{\n{lines}\n}}}}\n')


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    found = all_cases()
    for name in sys.argv[2:] or found:
        record(name, found[name], target)


if __name__ == "__main__":
    main()
