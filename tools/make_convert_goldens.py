#!/usr/bin/env python3
"""Records what mlx_lm.convert makes of tiny models, for tests/cli/test_convert.py.

Needs mlx-lm 0.32.2 and its MLX on the CPU. Models come from tests/cli/tiny_models.py; only
config.json and a hash for each layer are kept.

    tools/make_convert_goldens.py tests/data/convert/goldens.json
"""
import json
import pathlib
import sys
import tempfile

import mlx.core as mx

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests" / "cli"))
import tiny_models  # noqa: E402
from mlx_lm import convert, utils  # noqa: E402

# model_type, tied, what mlxk is asked, what mlx_lm.convert is asked
CASES = [
    ("llama", True, ["--quantize", "4"], dict(quantize=True, q_bits=4)),
    ("llama", False, ["--quantize", "2", "--q-group-size", "32"], dict(quantize=True, q_bits=2, q_group_size=32)),
    ("llama", False, ["--quantize", "3", "--q-group-size", "128"], dict(quantize=True, q_bits=3, q_group_size=128)),
    ("llama", True, ["--quantize", "5", "--dtype", "float16"], dict(quantize=True, q_bits=5, dtype="float16")),
    ("qwen2", False, ["--quantize", "6"], dict(quantize=True, q_bits=6)),
    ("qwen3", False, ["--quantize", "8", "--max-shard-mb", "1"], dict(quantize=True, q_bits=8)),
    ("qwen3", True, ["--quantize", "4", "--q-mode", "mxfp4"], dict(quantize=True, q_bits=4, q_mode="mxfp4")),
    ("gemma3_text", True, ["--quantize", "8", "--q-mode", "mxfp8"], dict(quantize=True, q_bits=8, q_mode="mxfp8")),
    ("gemma3_text", True, ["--quantize", "4", "--q-mode", "nvfp4"], dict(quantize=True, q_bits=4, q_mode="nvfp4")),
    ("granite", False, ["--quantize", "4"], dict(quantize=True, q_bits=4)),
    ("mixtral", False, ["--quantize", "4", "--q-group-size", "32"], dict(quantize=True, q_bits=4, q_group_size=32)),
    ("qwen3_moe", False, ["--quantize", "4"], dict(quantize=True, q_bits=4)),
    ("qwen3_moe", False, ["--dtype", "float16", "--max-shard-mb", "1"], dict(dtype="float16")),
    ("llama", True, ["--dtype", "float32", "--max-shard-mb", "1"], dict(dtype="float32")),
]
for recipe in ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"):
    # mlx-lm writes null into config.json when the group size is left to its default
    CASES.append(("llama", False, ["--quantize", recipe], dict(quantize=True, q_group_size=64, quant_predicate=recipe)))
CASES.append(("mixtral", False, ["--quantize", "mixed_3_6"], dict(quantize=True, q_group_size=64, quant_predicate="mixed_3_6")))


class Bytes(int):
    def __lshift__(self, _):
        return int(self)


class NoTokenizer:
    def save_pretrained(self, _):
        pass


def record(case, folder):
    model_type, tied, arguments, options = case
    source, target = folder / "source", folder / "target"
    tiny_models.write_model(source, model_type, tied)
    limit = 1 << 20 if "--max-shard-mb" in arguments else 5 << 30
    utils.make_shards.__defaults__ = (Bytes(limit),)
    convert(str(source), str(target), **options)
    summary = tiny_models.summary(target)
    card = (target / "README.md").read_text()
    result = {"model_type": model_type, "tied": tied, "arguments": arguments, "card": card, **summary}
    if options.get("quantize"):
        back = folder / "back"
        convert(str(target), str(back), dequantize=True)
        result["dequantized"] = tiny_models.summary(back)["layers"]
    return result


def main(path):
    mx.set_default_device(mx.cpu)
    utils.load_tokenizer = lambda *a, **k: NoTokenizer()
    results = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            results.append(record(case, pathlib.Path(folder)))
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(result, separators=(",", ":")) for result in results) + "\n]\n")


main(sys.argv[1])
