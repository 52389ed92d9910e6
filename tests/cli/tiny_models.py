"""Tiny random models in Hugging Face's form, the same bytes on every machine: a tensor's values come from its name."""
import hashlib
import json
import math
import os
import struct

LAYERS, HIDDEN, WIDE, VOCAB, EXPERTS = 8, 128, 256, 160, 4


def bf16(name, count):
    """`count` bfloat16 numbers between about 0.008 and 0.06, of both signs."""
    raw = hashlib.shake_128(name.encode()).digest(2 * count)
    out = bytearray(2 * count)
    out[0::2] = raw[0::2]
    out[1::2] = raw[1::2].translate(bytes((b & 0x80) | 0x3C | (b & 1) for b in range(256)))
    return bytes(out)


def as_f32(data):
    out = bytearray(2 * len(data))
    out[2::4], out[3::4] = data[0::2], data[1::2]
    return bytes(out)


def attention(layer, biases=False, norms=False):
    shapes = {}
    for name, rows in (("q_proj", HIDDEN), ("k_proj", HIDDEN // 2), ("v_proj", HIDDEN // 2), ("o_proj", HIDDEN)):
        shapes[f"{layer}.self_attn.{name}.weight"] = [rows, HIDDEN]
        if biases and name != "o_proj":
            shapes[f"{layer}.self_attn.{name}.bias"] = [rows]
    if norms:
        for name in ("q_norm", "k_norm"):
            shapes[f"{layer}.self_attn.{name}.weight"] = [HIDDEN // 4]
    return shapes


def mlp(path, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = names
    return {f"{path}.{gate}.weight": [WIDE, HIDDEN], f"{path}.{up}.weight": [WIDE, HIDDEN],
            f"{path}.{down}.weight": [HIDDEN, WIDE]}


def experts(layer, model_type):
    if model_type == "mixtral":
        path, names = f"{layer}.block_sparse_moe", ("w1", "w3", "w2")
    else:
        path, names = f"{layer}.mlp", ("gate_proj", "up_proj", "down_proj")
    shapes = {f"{path}.gate.weight": [EXPERTS, HIDDEN]}
    for expert in range(EXPERTS):
        shapes.update(mlp(f"{path}.experts.{expert}", names))
    return shapes


CASES = os.path.join(os.path.dirname(__file__), "..", "data", "models")


def from_case(name):
    """(config, shapes) of a case of tests/data/models, with the tensors named and shaped as in Hugging Face's files."""
    with open(os.path.join(CASES, name + ".json")) as file:
        case = json.load(file)
    found = {tensor: entry["shape"] for tensor, entry in case["tensors"].items()}
    model_type, shapes = case["config"]["model_type"], {}
    for tensor, shape in found.items():
        path, _, leaf = tensor.rpartition(".")
        above, _, part = path.rpartition(".")
        block = above.rpartition(".")[2]
        if part == "embed_q" and model_type != "kimi_vl":  # of which mlx-lm reads only its own form
            heads, value, latent = found[f"{above}.unembed_out.weight"]
            shapes[f"{above}.kv_b_proj.weight"] = [heads * (shape[2] + value), latent]
        elif part == "unembed_out" and model_type != "kimi_vl":
            pass
        elif part in ("conv1d", "conv_1d", "conv") and len(shape) == 3 and model_type not in ("falcon_h1", "lfm2-vl"):
            shapes[tensor.replace("_conv.conv.", "_conv1d.")] = [shape[0], 1, shape[1] * shape[2]]
        elif model_type == "gpt_oss" and block == "experts":
            shapes.update(packed_bytes(above, part, leaf, shape))
        elif part not in ("gate_proj", "down_proj", "up_proj") or len(shape) != 3:
            shapes[tensor] = shape
        elif block == "switch_glu":  # Gemma 4
            shapes[fused(above.removesuffix(".switch_glu"), part)] = doubled(shape, part, 1)
        elif model_type == "qwen3_5_moe":
            shapes[fused(f"{above.removesuffix('.switch_mlp')}.experts", part)] = doubled(shape, part, 1)
        elif model_type in ("llama4", "qwen3_vl_moe"):  # the other way round
            experts_path = above.removesuffix(".switch_mlp") + ("" if model_type == "llama4" else ".experts")
            shapes[fused(experts_path, part)] = doubled([shape[0], shape[2], shape[1]], part, 2)
        elif model_type in ("granitemoe", "granitemoehybrid"):
            linear = "output_linear" if part == "down_proj" else "input_linear"
            shapes[f"{above.removesuffix('.switch_mlp')}.{linear}.weight"] = doubled(shape, part, 1)
        else:
            if model_type == "kimi_linear":
                above = above.replace(".mlp.", ".block_sparse_moe.")
            names = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"} if "block_sparse_moe" in above else {}
            for expert in range(shape[0]):
                experts_path = f"{above[:-len(block)]}experts.{expert}"
                shapes[f"{experts_path}.{names.get(part, part)}.weight"] = shape[1:]
    config = {**case["config"], "torch_dtype": "bfloat16"}
    config.get("text_config", config).setdefault("rope_scaling", None)  # some types of mlx-lm require the key
    if model_type == "gpt_oss":
        config["quantization_config"] = {"quant_method": "mxfp4"}
    return config, shapes


def packed_bytes(path, part, leaf, shape):
    """gpt-oss's experts: mxfp4 in bytes, rows of gate and up in turns."""
    wide = fused(path, part)
    shape = doubled(shape, part, 1)
    if leaf == "bias":
        return {f"{wide}_bias": shape}
    return {f"{wide}_blocks": [*shape[:2], shape[2] // 32, 16], f"{wide}_scales": [*shape[:2], shape[2] // 32]}


def fused(path, part):
    return f"{path}.{'down_proj' if part == 'down_proj' else 'gate_up_proj'}"


def doubled(shape, part, axis):
    return [2 * size if i == axis and part != "down_proj" else size for i, size in enumerate(shape)]


def model(model_type, tied=True):
    """(config, shapes) of a model of that type, or of "case NAME", or of that in 8-bit floats as "float8 case NAME"."""
    if model_type.startswith("float8 "):
        return in_float8(model(model_type[7:], tied))
    if model_type.startswith("case "):
        return from_case(model_type[5:])
    moe = model_type in ("mixtral", "qwen3_moe")
    layers = 2 if moe else LAYERS
    config = {"model_type": model_type, "_name_or_path": "somewhere", "torch_dtype": "bfloat16",
              "hidden_size": HIDDEN, "num_hidden_layers": layers, "intermediate_size": WIDE, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_dim": HIDDEN // 4, "vocab_size": VOCAB, "rms_norm_eps": 1e-5,
              "max_position_embeddings": 256, "rope_theta": 10000.0, "tie_word_embeddings": tied,
              "eos_token_id": 2, "bos_token_id": 1}
    if moe:
        config.update({"num_local_experts": EXPERTS, "num_experts": EXPERTS, "num_experts_per_tok": 2,
                       "moe_intermediate_size": WIDE, "decoder_sparse_step": 1, "mlp_only_layers": [],
                       "norm_topk_prob": True})
    if model_type == "granite":
        config.update({"attention_multiplier": 0.1, "embedding_multiplier": 1.5, "residual_multiplier": 0.5,
                       "logits_scaling": 2.0, "attention_bias": False, "mlp_bias": False})
    if model_type == "gemma3_text":
        config.update({"sliding_window": 32, "sliding_window_pattern": 2, "query_pre_attn_scalar": 32})
    shapes = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN]}
    if not tied:
        shapes["lm_head.weight"] = [VOCAB, HIDDEN]
    for i in range(layers):
        layer = f"model.layers.{i}"
        shapes.update(attention(layer, model_type == "qwen2", model_type in ("qwen3", "qwen3_moe", "gemma3_text")))
        shapes.update(experts(layer, model_type) if moe else mlp(f"{layer}.mlp"))
        norms = ["input_layernorm", "post_attention_layernorm"]
        if model_type == "gemma3_text":
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        shapes.update({f"{layer}.{norm}.weight": [HIDDEN] for norm in norms})
    if model_type == "llama":  # extra tensors of old checkpoints
        shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = [HIDDEN // 8]
    return config, shapes


def count(shape):
    total = 1
    for size in shape:
        total *= size
    return total


def in_float8(model):
    """The model with its layers' matrices in 8-bit floats, a scale for each block of 128 x 128."""
    config, shapes = model
    for name in [name for name in shapes if name.endswith("_proj.weight") and len(shapes[name]) == 2]:
        shapes[name + "_scale_inv"] = [-(-size // 128) for size in shapes[name]]
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    return config, shapes


def data_of(name, shapes):
    """(dtype, bytes) of a tensor."""
    shape = shapes[name]
    if name.endswith("_scale_inv"):
        return "F32", as_f32(bf16(name, count(shape)))
    if name + "_scale_inv" in shapes:  # all but the largest and NaN
        raw = hashlib.shake_128(name.encode()).digest(count(shape))
        return "F8_E4M3", raw.translate(bytes(b & 0xBF for b in range(256)))
    if not name.endswith(("_blocks", "_scales")):
        return "BF16", bf16(name, count(shape))
    raw = hashlib.shake_128(name.encode()).digest(count(shape))
    return "U8", raw if name.endswith("_blocks") else raw.translate(bytes(120 + (b & 3) for b in range(256)))


def write_safetensors(path, shapes):
    header, at = {}, 0
    for name in sorted(shapes):
        dtype, data = data_of(name, shapes)
        header[name] = {"dtype": dtype, "shape": shapes[name], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(shapes):
            file.write(data_of(name, shapes)[1])


def read_safetensors(path):
    """name → (dtype, shape, bytes)"""
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        out[name] = (entry["dtype"], entry["shape"], data[8 + length + begin:8 + length + end])
    return out


def write_tokenizer(folder, added=()):
    """One token for each character, and those of `added` after them."""
    words = ["<unk>", "<s>", "</s>"] + [chr(c) for c in range(32, 127)]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None,
                 "added_tokens": [{"id": i, "content": [*words, *added][i], "single_word": False, "lstrip": False, "rstrip": False,
                                   "normalized": False, "special": True} for i in [0, 1, 2, *range(98, 98 + len(added))]],
                 "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
                 "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {w: i for i, w in enumerate(words)},
                           "merges": []}}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
              "unk_token": "<unk>"}
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file)


def write_voxtral(folder):
    """A tiny Voxtral with Mistral's tokenizer: windows of 0.16 seconds, of four tokens each."""
    listening = os.path.join(os.path.dirname(__file__), "..", "data")
    with open(os.path.join(listening, "vision_models", "voxtral.json")) as file:
        case = json.load(file)
    with open(os.path.join(listening, "listening", "tekken", "tekken.json")) as file:
        tekken = file.read()
    vocab = json.loads(tekken)["config"]["default_vocab_size"]
    config = case["config"]
    config["text_config"]["vocab_size"] = vocab
    shapes = {name: [vocab if size == 128 else size for size in tensor["shape"]] for name, tensor in case["tensors"].items()}
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "tekken.json"), "w") as file:
        file.write(tekken)
    write_safetensors(os.path.join(folder, "model.safetensors"), shapes)


def mixed(name, count):
    """The formula of src/models/testing/golden_model.h: numbers in [-0.5, 0.5)."""
    seed, mask = 2166136261, 0xFFFFFFFF
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 & mask
    for i in range(count):
        x = (i * 2654435761 + seed) & mask
        x = (x ^ x >> 16) * 0x7FEB352D & mask
        x = (x ^ x >> 15) * 0x846CA68B & mask
        yield ((x ^ x >> 16) >> 16) / 65536 - 0.5


def write_case(folder, kind, case):
    """Config, weights and other files of a case of tests/data/KIND."""
    with open(os.path.join(os.path.dirname(__file__), "..", "data", kind, case + ".json"), encoding="utf-8") as file:
        golden = json.load(file)
    header, data = {}, b""
    for name, entry in golden["tensors"].items():
        values = entry.get("values")
        if values is None:
            raw = mixed(name, math.prod(entry["shape"]))
            values = [1 + 0.5 * x if entry["kind"] == "norm" else 0.5 * x * entry.get("times", 1) for x in raw]
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": entry["shape"], "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(golden["config"], file)
    for name, content in golden.get("files", {}).items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def write_florence2(folder):
    """A tiny Florence-2 with a token for each character; an image is ten tokens."""
    write_case(folder, "vision_models", "florence2")
    write_tokenizer(folder, ["<image>"] + [f"<loc_{i}>" for i in range(29)])
    with open(os.path.join(folder, "preprocessor_config.json"), "w", encoding="utf-8") as file:
        json.dump({"size": {"height": 48, "width": 48}, "image_seq_length": 10}, file)


def write_listener(folder, case, tokens, files):
    """A case of tests/data/vision_models with a token for each character and `tokens`, name → id from 98 on."""
    write_case(folder, "vision_models", case)
    names = {i: name for name, i in tokens.items()}
    write_tokenizer(folder, [names.get(i, f"<unused{i}>") for i in range(98, 128)])
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))


def write_gemma3n(folder):
    """A tiny Gemma 3n: an image is four tokens, a recording six."""
    template = ("{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}"
                "{% for part in message.content %}{% if part.type == 'audio' %}<audio_soft_token>"
                "{% elif part.type == 'image' %}<image_soft_token>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
                "{% endfor %}")
    tokens = {"<start_of_image>": 101, "<end_of_image>": 118, "<image_soft_token>": 120, "<start_of_audio>": 102,
              "<end_of_audio>": 124, "<audio_soft_token>": 125}
    write_listener(folder, "gemma3n", tokens, {
        "chat_template.jinja": template, "processor_config.json": {"image_seq_length": 4, "audio_seq_length": 6},
        "preprocessor_config.json": {"size": {"height": 64, "width": 64}, "feature_size": 16}})


def write_vibevoice(folder):
    """A tiny VibeVoice-ASR: six samples are a token."""
    tokens = {"<|im_start|>": 98, "<|im_end|>": 99, "<|object_ref_start|>": 101, "<|object_ref_end|>": 102,
              "<|box_start|>": 120}
    write_listener(folder, "vibevoice_asr", tokens, {"preprocessor_config.json": {"pad_to_multiple_of": 6}})
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["text_config"]["max_position_embeddings"] = 4096
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def write_model(folder, model_type, tied=True, shards=1):
    """Writes the model and its tokenizer; returns config and shapes."""
    config, shapes = model(model_type, tied)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "generation_config.json"), "w") as file:
        json.dump({"eos_token_id": [2, 3]}, file)
    write_tokenizer(folder)
    names = sorted(shapes)
    if shards == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), shapes)
        return config, shapes
    weight_map = {}
    for i in range(shards):
        shard = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        write_safetensors(os.path.join(folder, shard), {name: shapes[name] for name in part})
        weight_map.update({name: shard for name in part})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": weight_map}, file)
    return config, shapes


def tensors_of(folder):
    """name → [dtype, shape, hash, shard] of a converted model, by its index."""
    with open(os.path.join(folder, "model.safetensors.index.json")) as file:
        index = json.load(file)
    tensors = {}
    for shard in sorted(set(index["weight_map"].values())):
        for name, (dtype, shape, data) in read_safetensors(os.path.join(folder, shard)).items():
            assert index["weight_map"][name] == shard, name
            tensors[name] = [dtype, shape, hashlib.sha256(data).hexdigest(), shard]
    assert sorted(tensors) == list(index["weight_map"]), "the index is not sorted or not complete"
    return tensors


def summary(folder):
    """A conversion's output, short enough to be kept: one hash for each layer."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    with open(os.path.join(folder, "model.safetensors.index.json")) as file:
        metadata = json.load(file)["metadata"]
    layers = {}
    for name, entry in sorted(tensors_of(folder).items()):
        parts = name.split(".")
        end = parts.index("layers") + 2 if "layers" in parts else 2
        layers.setdefault(".".join(parts[:end]), []).append([name, *entry])
    hashes = {layer: hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] for layer, rows in layers.items()}
    return {"config": config, "metadata": metadata, "layers": hashes}
