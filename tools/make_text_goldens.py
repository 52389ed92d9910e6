#!/usr/bin/env python3
"""Records greedy continuations by mlx-lm 0.32.2 in float32 for tests/parity.

    python tools/make_text_goldens.py MODEL_DIR tests/data/parity/smollm2.json [--chat]

Needs `pip install mlx==0.32.4 mlx-lm==0.32.2`. Packed weights stay packed; every other parameter becomes float32, so
that activations are float32 as in mlxk's CPU engine. Each step keeps the gap between the two largest logits: where it
is below 1e-4 another order of summation may choose the other token.
"""
import argparse
import json
import pathlib
import sys

import mlx.core as mx
import mlx_lm
from mlx.utils import tree_map
from mlx_lm.models.cache import make_prompt_cache

MAX_TOKENS = 48

STORY = (
    "The keeper of the lighthouse wrote one line in the log each evening. On day {n} the wind came from the {wind}, "
    "the sea was {sea}, and {ships} ships passed the cape before dark. "
)
LONG = "".join(
    STORY.format(
        n=n,
        wind=("north", "south", "east", "west", "north-west")[n % 5],
        sea=("calm", "rough", "grey and restless", "covered with fog")[n % 4],
        ships=(3 * n) % 11,
    )
    for n in range(1, 16)
)

# (name, is it a chat turn, text)
PROMPTS = [
    ("capital", True, "What is the capital of France?"),
    ("haiku", True, "Write three short sentences about rain."),
    ("german", True, "Erkläre kurz, warum der Himmel blau ist – in zwei Sätzen."),
    ("emoji", True, "Explain what these mean: 🌧️ 👩‍🚀 🇫🇷 👍🏽"),
    ("once", False, "Once upon a time, in a village by the sea,"),
    ("grundgesetz", False, "Die Straße führt über den Fluss und durch die Wälder nach Köln. Dort"),
    ("code", False, "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n"),
    ("chinese", False, "北京是中国的首都,上海是"),
    ("japanese", False, "むかしむかし、あるところに、おじいさんと"),
    ("mixed", False, "Menu:\n1. Café ☕ – 2,50 €\n2. Tee 🍵 – 1,80 €\n3."),
    ("long", False, LONG + "On day 16 the wind came from the"),
]


def golden(model, tokenizer, name, chat, text):
    if chat:
        ids = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
    else:
        ids = tokenizer.encode(text)
    ids = [int(i) for i in ids]
    cache = make_prompt_cache(model)
    y, tokens, gaps, finish = mx.array(ids), [], [], "length"
    while len(tokens) < MAX_TOKENS:
        logits = model(y[None], cache=cache)[0, -1]
        if logits.dtype != mx.float32:
            sys.exit(f"logits are {logits.dtype}, not float32")
        top = mx.sort(logits)[-2:]
        token = mx.argmax(logits)
        mx.eval(top, token)
        gaps.append(round(float(top[1] - top[0]), 5))
        if token.item() in tokenizer.eos_token_ids:
            finish = "stop"
            break
        tokens.append(token.item())
        y = token[None]
    answer = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    print(f"{name}: {len(ids)} ids, smallest gap {min(gaps)}, {finish}: {answer!r}", flush=True)
    return {
        "name": name,
        "chat": chat,
        "prompt": text,
        "prompt_ids": ids,
        "token_ids": tokens,
        "text": answer,
        "finish_reason": finish,
        "gaps": gaps,  # one more than token_ids when an end-of-sequence token ended it
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--chat", action="store_true", help="the model has a chat template")
    args = parser.parse_args()

    mx.set_default_device(mx.cpu)
    model, tokenizer = mlx_lm.load(str(args.model))
    model.update(tree_map(
        lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p, model.parameters()))
    document = {
        "model": args.model.name,
        "by": f"mlx-lm {mlx_lm.__version__}, mlx {mx.__version__}, CPU, float32, greedy",
        "max_tokens": MAX_TOKENS,
        "cases": [],
    }
    for name, chat, text in PROMPTS:
        document["cases"].append(golden(model, tokenizer, name, chat and args.chat, text))
    head = json.dumps({key: value for key, value in document.items() if key != "cases"}, ensure_ascii=False)
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in document["cases"])
    args.output.write_text(f'{head[:-1]}, "cases": [\n{cases}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
