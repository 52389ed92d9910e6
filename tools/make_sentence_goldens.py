#!/usr/bin/env python3
"""make_sentence_goldens.py MODELS: writes tests/data/embedding/sentences.json: the float32 vectors of sentence-transformers for
some sentences, by the trained embedders that tools/make-models makes in MODELS (all-MiniLM-L6-v2, sre-embedding-model,
multilingual-e5-small-4bit; the last one's weights are dequantised). Needs sentence-transformers 6.2.0 and torch."""
import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from sentence_transformers import SentenceTransformer

SENTENCES = [
    "A man is playing a guitar on the street.", "Somebody plays a guitar outdoors.",
    "A woman slices an onion in the kitchen.", "The cook cuts vegetables.",
    "Two dogs run across a snowy field.", "Dogs are chasing each other in the snow.",
    "The train to Hamburg leaves at half past nine.", "Der Zug nach Hamburg fährt um halb zehn ab.",
    "Interest rates rose again in the spring.", "The central bank has raised its key rate.",
    "Le chat dort sur le canapé.", "The cat is asleep on the sofa.",
    "How do I restart a pod that is stuck in CrashLoopBackOff?", "Kubernetes keeps restarting my container after it fails.",
    "The disk of the database server is full.", "Write requests fail because there is no space left on the volume.",
    "Photosynthesis turns light into chemical energy.", "Plants make sugar from sunlight, water and carbon dioxide.",
    "She forgot her umbrella and got soaked.", "It rained so hard that she was wet to the skin.",
    "The committee rejected the proposal.", "The proposal was accepted by the committee.",
    "def add(a, b): return a + b", "東京は日本の首都です。",
]
MODELS = ["all-MiniLM-L6-v2", "sre-embedding-model", "multilingual-e5-small-4bit"]
OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "embedding" / "sentences.json"


def dequantise(folder):
    """Rewrites the model in `folder` in float32 if its weights are in MLX's affine 4-bit form."""
    config = json.loads((folder / "config.json").read_text())
    packing = config.pop("quantization", None)
    if not packing:
        return
    tensors, plain = safetensors.numpy.load_file(folder / "model.safetensors"), {}
    for name, x in tensors.items():
        stem = name.removesuffix(".weight")
        if stem + ".scales" in tensors and x.dtype == np.uint32:
            values = (x[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).reshape(x.shape[0], -1, packing["group_size"])
            scales, biases = (tensors[stem + end].astype(np.float32)[..., None] for end in (".scales", ".biases"))
            plain[name] = (values * scales + biases).reshape(x.shape[0], -1)
        elif not name.endswith((".scales", ".biases")):
            plain[name] = x
    safetensors.numpy.save_file(plain, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))


def main(models):
    torch.set_num_threads(1)
    document = {"texts": SENTENCES, "models": {}}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            shutil.copytree(Path(models) / name, folder)
            dequantise(folder)
            model = SentenceTransformer(str(folder), device="cpu")
            prompt = "query" if "e5" in name else None
            vectors = model.encode(SENTENCES, batch_size=1, prompt_name=prompt, show_progress_bar=False)
        document["models"][name] = {"input_type": prompt, "vectors_f16": base64.b64encode(vectors.astype("<f2").tobytes()).decode()}
        print(name, vectors.shape)
    OUT.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
