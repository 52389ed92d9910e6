"""A GGUF file of a one-layer llama in float32: hidden 64, two heads of 32, eight tokens."""
import struct

U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5
TOKENS = ["<s>", "</s>", "a", "b", "ab", "abc", "c", "d"]
KEYS = {"block_count": 1, "context_length": 128, "embedding_length": 64, "feed_forward_length": 96,
        "attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": 32, "attention.value_length": 32}
SHAPES = {"token_embd": [8, 64], "output_norm": [64], "blk.0.attn_q": [64, 64], "blk.0.attn_k": [32, 64], "blk.0.attn_v": [32, 64],
          "blk.0.attn_output": [64, 64], "blk.0.ffn_gate": [96, 64], "blk.0.ffn_up": [96, 64], "blk.0.ffn_down": [64, 96],
          "blk.0.attn_norm": [64], "blk.0.ffn_norm": [64]}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def array(kind, values):
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def write_gguf(path):
    keys = [("general.architecture", STRING, text("llama"))]
    keys += [(f"llama.{name}", U32, struct.pack("<I", value)) for name, value in KEYS.items()]
    keys += [("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
             ("llama.rope.freq_base", F32, struct.pack("<f", 10000)),
             ("tokenizer.ggml.model", STRING, text("gpt2")), ("tokenizer.ggml.pre", STRING, text("gpt-2")),
             ("tokenizer.ggml.tokens", ARRAY, array(STRING, [text(token) for token in TOKENS])),
             ("tokenizer.ggml.token_type", ARRAY, array(I32, [struct.pack("<i", 3 if i < 2 else 1) for i in range(8)])),
             ("tokenizer.ggml.merges", ARRAY, array(STRING, [text("a b"), text("ab c")])),
             ("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 0)),
             ("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 1)),
             ("tokenizer.chat_template", STRING, text("{{ messages[0].content }}"))]
    header = b"GGUF" + struct.pack("<IQQ", 3, len(SHAPES), len(keys))
    header += b"".join(text(name) + struct.pack("<I", kind) + value for name, kind, value in keys)
    data = b""
    for name, shape in SHAPES.items():
        header += text(name + ".weight") + struct.pack("<I", len(shape))
        header += b"".join(struct.pack("<Q", size) for size in reversed(shape)) + struct.pack("<IQ", 0, len(data))
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data += b"".join(struct.pack("<f", (i % 7 - 3) / 64) for i in range(count))
        data += bytes(-len(data) % 32)
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % 32) + data)
