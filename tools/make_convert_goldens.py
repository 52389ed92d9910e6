#!/usr/bin/env python3
"""Records mlx_lm.convert's results for tiny models, for tests/cli/test_convert.py.

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

# model_type, tied, mlxk's options, mlx_lm.convert's options
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
# Every type that mlx-lm has, from Hugging Face's names and shapes.
for model_type in ("iquestcoder", "xverse"):
    CASES.append((model_type, False, ["--quantize", "4"], dict(quantize=True, q_bits=4)))
for name in ("deepseek_v3", "kimi_k2", "minimax_m2"):
    CASES.append((f"float8 case {name}", True, ["--quantize", "4", "--q-group-size", "32"],
                  dict(quantize=True, q_bits=4, q_group_size=32)))
for name in ("granite", "granitemoe", "rwkv7"):
    CASES.append((f"case {name}", True, ["--quantize", "4"], dict(quantize=True, q_bits=4)))
for name in """
    apertus bailing_moe bailing_moe_sigmoid cohere cohere2 cohere_qk_norm deepseek deepseek_v2
    deepseek_v3 dots1 ernie4_5 ernie4_5_moe exaone4 falcon_h1 falcon_mamba gemma gemma2 gemma3
    gemma3_text gemma4 gemma4_text gemma4_text_moe gemma4_unified glm4 glm4_moe
    glm4_moe_lite gpt_oss granitemoehybrid_moe granitemoehybrid_published helium hunyuan
    hunyuan_v1_dense internlm2 internlm3 jamba kimi_k2 kimi_linear kimi_vl lfm2 lfm2_moe llama4 llama4_text llava llava_published mamba_published mamba2_published mimo minicpm minicpm3
    minimax minimax_m2 ministral3 mistral mistral3 mistral3_ministral3 mistral4 mixtral nemotron
    nemotron_h nemotron_h_moe olmo2 olmo3 olmoe phi3 pixtral qwen2 qwen2_5_vl qwen2_5_vl_published
    qwen2_moe qwen2_vl qwen3 qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe
    recurrent_gemma_published seed_oss smollm3 stablelm_parallel starcoder2 youtu_llm
""".split():
    CASES.append((f"case {name}", True, ["--quantize", "4", "--q-group-size", "32"],
                  dict(quantize=True, q_bits=4, q_group_size=32)))
DEQUANTIZED = ("case deepseek_v2", "case gpt_oss", "case rwkv7")  # of the cases, which are slow


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
    if options.get("quantize") and (not model_type.startswith(("case ", "float8 ")) or model_type in DEQUANTIZED):
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
