#!/usr/bin/env python3
"""Records transformers' results for tiny vision models, for src/models/vision_goldens_test.cpp.

Needs transformers 5.24.0 with torch, and timm 1.0.20 for FastVLM and Gemma 3n. Weights and pixels are not stored:
fill() of make_model_goldens.py and its twin in the test compute them from names, so that only configurations, tensor
shapes, features, logits and tokens are kept. The cases are in tools/vision_golden_cases, a module for each family.

    tools/make_vision_model_goldens.py tests/data/vision_models [CASE…]      # default: all
"""
import importlib
import json
import pathlib
import pkgutil
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

import vision_golden_cases
from make_model_goldens import bits, fill


LEAST_GAP = 0.01


def pixels(name, shape):
    """Numbers in [-1, 1) that depend on the name."""
    raw = bits(name, int(np.prod(shape)))
    return ((raw >> np.uint32(16)).astype(np.float32) / np.float32(32768) - np.float32(1)).reshape(shape)


def kind(name):
    path = name.rpartition(".")[0]
    return "norm" if "norm" in path or path.endswith(("ln_q", "ln_pre", "layrnorm", ".bn")) else "float"


def text(start, count):
    return [(i * 37 + 11) % 100 for i in range(start, start + count)]


def prompt_of(case, images, start):
    """ids and items of a prompt with those images."""
    ids, items = list(case.begin) + text(start, 4), []
    for image in images:
        begin_ids, tokens, end_ids = case.tokens(image)
        ids += begin_ids
        items.append(dict(image=image, begin=len(ids), end=len(ids) + len(tokens)))
        if case.placeholder_of(image) != case.placeholder:
            items[-1]["placeholder"] = case.placeholder_of(image)
        ids += tokens + end_ids + text(len(ids), case.text_after)
    return ids, items


def as_numpy(features):
    while isinstance(features, (list, tuple)) and len(features) == 1:
        features = features[0]
    if isinstance(features, (list, tuple)):
        features = torch.cat([f.reshape(-1, f.shape[-1]) for f in features])
    return features.reshape(-1, features.shape[-1]).float().numpy()


def record(name, case, target):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / name
        shapes, config = case.make(folder)
        tensors = {k: dict(shape=list(s), kind=case.kind(k) or kind(k)) for k, s in sorted(shapes.items())}
        model = case.load(folder, {k: fill(k, t["shape"], t["kind"]) for k, t in tensors.items()})
    images = [dict(name=f"{name}.{i}", shape=list(shape), grid=list(grid)) for i, (shape, grid) in enumerate(case.images)]
    for i, image in enumerate(images):
        if case.is_recording(i):
            image["kind"] = "audio"
    arrays = [pixels(i["name"], i["shape"]) for i in images]
    kept, prompts = {}, []
    with torch.no_grad():
        for i, array in enumerate(arrays):
            kept[f"features.{i}"] = as_numpy(case.features(model, case.inputs([(array, images[i]["grid"])])))
        for number, used in enumerate(case.prompts):
            for start in range(20):  # until no two tokens have nearly equal logits
                ids, items = prompt_of(case, used, start)
                inputs = case.inputs([(arrays[i], images[i]["grid"]) for i in used])
                logits, tokens = case.generate(model, ids, {**inputs, **case.more_inputs(ids)})
                gap = min(np.diff(np.sort(x)[-2:])[0] for x in logits)
                if gap > LEAST_GAP:
                    break
            kept[f"logits.{number}"] = logits[0]
            prompts.append(dict(ids=ids, items=items, greedy=tokens))
            print(f"{name:20} prompt {number}: |logits| {np.abs(logits[0]).mean():7.3f} gap {gap:.4f}")
    assert all(np.isfinite(a).all() for a in kept.values()), name
    save_file({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in kept.items()}, target / f"{name}.safetensors")
    head = {"config": config, "placeholder": case.placeholder, "attention": case.attention, "images": images}
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()]
    lines += ['"prompts": [\n' + ",\n".join("  " + json.dumps(p) for p in prompts) + "]"]
    lines += ['"tensors": {\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in tensors.items()) + "}"]
    (target / f"{name}.json").write_text("{" + ",\n".join(lines) + "}\n")


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    found = {}
    for module in pkgutil.iter_modules(vision_golden_cases.__path__):
        found.update(getattr(importlib.import_module(f"vision_golden_cases.{module.name}"), "cases", dict)())
    for name in sys.argv[2:] or found:
        record(name, found[name], target)


if __name__ == "__main__":
    main()
