#!/usr/bin/env python3
"""make_shapes_vlm.py TEXT_MODEL TOWER OUT: a small SmolVLM that recognises drawn shapes.

TEXT_MODEL is the folder of SmolLM2-135M-Instruct in 4 bits, which stays as it is; TOWER the file of its vision tower of
5.6 M parameters, trained on drawn scenes: one or two shapes in seven colours, one to five equal ones, or a digit. Needs
nothing but Python: tensors are copied as bytes. Run by make-models.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROLES = {4: "<image>", 5: "<fake_token_around_image>", 6: "<global-img>"}  # three reserved tokens get a role
VISION = {
    "model_type": "smolvlm_vision",
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 256,
    "patch_size": 16,
    "num_channels": 3,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
PREPROCESSOR = {
    "image_processor_type": "SmolVLMImageProcessor",
    "processor_class": "SmolVLMProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"longest_edge": 256},
    "max_image_size": {"longest_edge": 256},
    "do_image_splitting": False,
    "do_pad": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 1,
}


def read(path):
    """name → (dtype, shape, bytes) of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], data[8 + size + begin : 8 + size + end])
    return tensors


def write(path, tensors):
    header, at = {"__metadata__": {"format": "mlx"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            out.write(data)


def dump(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    source, tower, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True)
    tensors = {}
    for file in sorted(source.glob("model*.safetensors")):
        for name, tensor in read(file).items():
            tensors["language_model." + name.removeprefix("model.")] = tensor
    for part in ("weight", "scales", "biases"):  # this family keeps an output head of its own
        tensors[f"language_model.lm_head.{part}"] = tensors[f"language_model.embed_tokens.{part}"]
    for name, tensor in read(tower).items():
        tensors[name.removeprefix("model.")] = tensor
    write(out / "model.safetensors", tensors)

    text = json.loads((source / "config.json").read_text())
    packed = text.pop("quantization")
    text.pop("quantization_config", None)
    text.pop("architectures", None)
    text["tie_word_embeddings"] = False
    quantization = {}
    for key, value in packed.items():
        quantization["language_model." + key.removeprefix("model.") if isinstance(value, dict) else key] = value
    embedding = quantization.get("language_model.embed_tokens")
    if embedding:
        quantization["language_model.lm_head"] = embedding
    config = {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "image_token_id": 4,
        "scale_factor": 2,
        "vocab_size": text["vocab_size"],
        "eos_token_id": text["eos_token_id"],
        "tie_word_embeddings": False,
        "text_config": text,
        "vision_config": VISION,
        "quantization": quantization,
        "quantization_config": quantization,
    }
    dump(out / "config.json", config)

    tokenizer = json.loads((source / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for token in tokenizer["added_tokens"]:
        if token["id"] in ROLES:
            vocabulary.pop(token["content"], None)
            token["content"] = ROLES[token["id"]]
            vocabulary[token["content"]] = token["id"]
    dump(out / "tokenizer.json", tokenizer)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    dump(out / "tokenizer_config.json", {**settings, "chat_template": TEMPLATE})
    dump(out / "preprocessor_config.json", PREPROCESSOR)
    dump(out / "processor_config.json", {"processor_class": "SmolVLMProcessor", "image_seq_len": 64})
    for name in ("generation_config.json", "special_tokens_map.json"):
        if (source / name).exists():
            shutil.copy(source / name, out / name)


if __name__ == "__main__":
    main()
