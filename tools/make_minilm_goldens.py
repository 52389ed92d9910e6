#!/usr/bin/env python3
"""make_minilm_goldens.py MODEL: tests/data/embedding/minilm.json, sentence-transformers' vectors of some texts with the
all-MiniLM-L6-v2 that tools/make-models makes. Needs sentence-transformers 6.2.0 and torch."""
import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

TEXTS = [
    "The capital of France is Paris.", "Paris is the seat of the French government.", "How do I cook rice?",
    "Rinse the rice, then simmer it in twice its volume of water.", "a",
    "ÄÖÜ ß — naïve café, 東京 is the capital of Japan \U0001F600",
    "The quick brown fox jumps over the lazy dog. " * 20,
    "word " * 400,  # longer than the model accepts
]
OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "embedding" / "minilm.json"

model = SentenceTransformer(sys.argv[1], device="cpu")
vectors = model.encode(TEXTS, batch_size=1, show_progress_bar=False)
tokens = [model.preprocess([text])["input_ids"].shape[1] for text in TEXTS]
rows = ",\n".join(json.dumps({"text": text, "tokens": count, "vector": [round(float(x), 7) for x in vector]})
                  for text, count, vector in zip(TEXTS, tokens, vectors))
OUT.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
