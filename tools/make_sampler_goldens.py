#!/usr/bin/env python3
"""Records the results of mlx-lm 0.32.2's samplers and logits processors for fixed logits, for src/sample's tests.

    python tools/make_sampler_goldens.py tests/data/sample

Needs `pip install mlx==0.32.4 mlx-lm==0.32.2`. Distributions are recorded, not draws: categorical sampling is replaced
by a function that keeps the filtered log-probabilities it is given.
"""
import json
import pathlib
import random
import sys

import mlx.core as mx
import mlx_lm
from mlx_lm import sample_utils

VOCAB = 48


def logits_table():
    rng = random.Random(7)
    peaked = [round(rng.gauss(0, 3), 4) for _ in range(VOCAB)]
    flat = [round(rng.gauss(0, 0.3), 4) for _ in range(VOCAB)]
    ties = [float(rng.randrange(-2, 4)) for _ in range(VOCAB)]
    sure = [-20.0] * VOCAB
    sure[11] = 20.0
    masked = [x if i % 3 else -float("inf") for i, x in enumerate(peaked)]
    return {"peaked": peaked, "flat": flat, "ties": ties, "sure": sure, "masked": masked}


FILTERS = (
    [{"top_p": p} for p in (0.01, 0.3, 0.5, 0.9, 0.999)]
    + [{"min_p": p} for p in (0.01, 0.1, 0.5, 1.0)]
    + [{"min_p": 0.5, "min_tokens_to_keep": n} for n in (2, 7)]
    + [{"top_k": k} for k in (1, 5, 47)]
    + [{"xtc_probability": 1.0, "xtc_threshold": t} for t in (0.0, 0.02, 0.1, 0.5)]
    + [{"xtc_probability": 1.0, "xtc_threshold": 0.02, "xtc_special_tokens": list(range(0, VOCAB, 2))}]
    + [
        {"top_p": 0.9, "min_p": 0.05},
        {"top_p": 0.8, "top_k": 4},
        {"top_p": 0.95, "min_p": 0.02, "xtc_probability": 1.0, "xtc_threshold": 0.05, "top_k": 6},
        {"min_p": 0.02, "xtc_probability": 1.0, "xtc_threshold": 0.1, "top_k": 3},
    ]
)

PENALTIES = [
    {"logit_bias": {3: 2.5, 17: -100.0, 47: 0.5}},
    {"repetition_penalty": 1.1},
    {"repetition_penalty": 0.8, "repetition_context_size": 3},
    {"repetition_penalty": 1.3, "repetition_context_size": 0},
    {"presence_penalty": 0.7},
    {"presence_penalty": -0.5, "presence_context_size": 4},
    {"frequency_penalty": 0.4},
    {"frequency_penalty": 0.4, "frequency_context_size": 5},
    {
        "logit_bias": {5: 1.5, 9: -1.5},
        "repetition_penalty": 1.2,
        "repetition_context_size": 6,
        "presence_penalty": 0.3,
        "presence_context_size": 9,
        "frequency_penalty": 0.25,
        "frequency_context_size": 12,
    },
]
HISTORIES = [
    [],
    [5],
    [5, 5, 9, 5],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 9, 9, 3, 40, 41, 42, 43, 44, 45, 46, 47, 5, 2, 9, 0],
]


def plain(values):
    return [None if x == -float("inf") else round(x, 5) for x in values]


def main():
    mx.set_default_device(mx.cpu)
    folder = pathlib.Path(sys.argv[1])
    table = logits_table()
    by = f"mlx-lm {mlx_lm.__version__}"

    seen = []
    sample_utils.categorical_sampling = lambda logprobs, temp: seen.append(logprobs) or mx.array([0])
    filters = []
    for name, values in table.items():
        logits = mx.array([values])
        logprobs = logits - mx.logsumexp(logits, keepdims=True)
        for parameters in FILTERS:
            sample_utils.make_sampler(temp=0.8, **parameters)(logprobs)
            filters.append({"logits": name, "sampling": parameters, "logprobs": plain(seen.pop()[0].tolist())})

    penalties = []
    for parameters in PENALTIES:
        for history in HISTORIES:
            for name in ("peaked", "ties"):
                logits = mx.array([table[name]])
                for processor in sample_utils.make_logits_processors(**parameters):
                    logits = processor(mx.array(history, mx.int32), logits)
                shown = dict(parameters)
                if "logit_bias" in shown:
                    shown["logit_bias"] = list(shown["logit_bias"].items())
                penalties.append({"logits": name, "sampling": shown, "history": history,
                                  "penalised": plain(logits[0].tolist())})

    logits = {name: plain(values) for name, values in table.items()}
    for file, cases in (("filters.json", filters), ("penalties.json", penalties)):
        rows = ",\n".join(json.dumps(case) for case in cases)
        (folder / file).write_text(
            f'{{"by": "{by}", "logits": {json.dumps(logits)},\n"cases": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
