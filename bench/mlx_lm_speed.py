"""mlx_lm_speed.py MODEL PROMPT GENERATE: mlx-lm's tokens/s on the CPU, activations in float32, as one JSON object.

float32 because libmlx emulates float16 there, which is slower still.
"""
import json
import sys
import time

import mlx.core as mx
import mlx_lm
from mlx.utils import tree_map
from mlx_lm.models.cache import make_prompt_cache


def main():
    path, prompt, generate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mx.set_default_device(mx.cpu)
    model, _ = mlx_lm.load(path)
    model.update(tree_map(lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p, model.parameters()))
    mx.eval(model.parameters())
    start = time.perf_counter()
    cache = make_prompt_cache(model)
    token = mx.argmax(model(mx.arange(100, 100 + prompt)[None], cache=cache)[:, -1], axis=-1)
    mx.eval(token)
    first = time.perf_counter()
    for _ in range(generate):
        token = mx.argmax(model(token[None], cache=cache)[:, -1], axis=-1)
        mx.eval(token)
    end = time.perf_counter()
    print(json.dumps({"prefill": prompt / (first - start), "decode": generate / (end - first), "version": mlx_lm.__version__}))


main()
