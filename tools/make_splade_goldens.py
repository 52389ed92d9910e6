#!/usr/bin/env python3
"""make_splade_goldens.py MODELS: writes tests/data/embedding/splade_tiny.json: the sparse vectors of sentence-transformers'
SparseEncoder for some texts, by the trained splade-tiny that tools/make-models makes in MODELS. Needs sentence-transformers
6.2.0 and torch."""
import json
import sys
from pathlib import Path

from sentence_transformers import SparseEncoder

TEXTS = ["A man is playing a guitar on the street.", "Somebody plays a guitar outdoors.", "The committee rejected the proposal.",
         "The central bank has raised its key rate.", "The disk of the database server is full.", "a", "東京は日本の首都です。"]
OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "embedding" / "splade_tiny.json"


def main(models):
    model = SparseEncoder(str(Path(models) / "splade-tiny"), device="cpu")
    rows = model.encode(TEXTS, convert_to_sparse_tensor=False)
    records = []
    for text, row in zip(TEXTS, rows):
        indices = row.nonzero()[:, 0].tolist()
        records.append({"text": text, "indices": indices, "values": [round(float(row[i]), 5) for i in indices]})
    OUT.write_text(json.dumps(records, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
