#!/usr/bin/env python3
"""Writes the seeds in tests/fuzz/corpus: small inputs that reach every part of a parser. Deterministic."""
import io
import json
import re
import struct
import zipfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def write(target, seeds):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (folder / name).write_bytes(content)


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def header(data_bytes, value):
    return bytes([0, data_bytes]) + json.dumps(value).encode()


def index(value):
    return bytes([1, 0]) + json.dumps(value).encode()


write("safetensors_header_fuzz", {
    "empty": header(0, {}),
    "tensors": header(28, {"__metadata__": {"format": "mlx"}, "a.weight": tensor("F32", [2, 3], 0, 24),
                           "s": tensor("BF16", [], 24, 26), "e": tensor("U8", [0, 5], 26, 26), "b": tensor("BOOL", [2], 26, 28)}),
    "overlap": header(8, {"a": tensor("U8", [8], 0, 8), "b": tensor("U8", [4], 4, 8)}),
    "wrap": header(0, {"a": tensor("F32", [2**30, 2**30, 4], 0, 0)}),
    "reversed": header(8, {"a": tensor("I64", [1], 8, 0)}),
    "index": index({"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}),
    "index_escape": index({"weight_map": {"a": "../x.safetensors"}}),
})


def config(which, value):
    return bytes([which]) + (value if isinstance(value, bytes) else json.dumps(value).encode())


write("config_fuzz", {
    "llama": config(0, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
                        "num_attention_heads": 4, "vocab_size": 100, "rope_theta": 1e4, "max_position_embeddings": 64,
                        "rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "quantization": {"bits": 4, "group_size": 64}}),
    "multimodal": config(0, {"model_type": "gemma3", "text_config": {"max_position_embeddings": 8}, "vision_config": {"patch_size": 14},
                             "audio_config": {"x": 1}, "auto_map": {"AutoModel": "m.M"}}),
    "model_file": config(0, {"model_type": "x", "model_file": "m.py"}),
    "float": config(0, {"model_type": "mamba2", "time_step_limit": [0.0, {"__float__": "Infinity"}]}),
    "bare_infinity": config(0, b'{"model_type": "mamba2", "time_step_limit": [0.0, Infinity], "x": -Infinity, "y": NaN}'),
    "big_number": config(0, b'{"vocab_size":1e400}'),
    "tokenizer_config": config(1, {"chat_template": "{{ messages }}", "bos_token": {"content": "<s>"}}),
    "template_list": config(1, {"chat_template": [{"name": "default", "template": "x"}]}),
    "index": config(2, {"weight_map": {"a": "model.safetensors"}}),
    "video": config(3, {"image_processor_type": "AutoVideoProcessor", "temporal_patch_size": 2}),
    "whisper": config(3, {"feature_extractor_type": "WhisperFeatureExtractor"}),
    "readme": config(4, b"---\ntags:\n- mlx\nlibrary_name: mlx\n---\ntext"),
    "generation": config(5, {"eos_token_id": [1, 2]}),
    "template_json": config(6, {"chat_template": "x"}),
    "tokenizer": config(7, {"chat_template": "x", "added_tokens": []}),
})


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf(metadata, tensors, data):
    body = b"".join(gguf_string(key) + struct.pack("<I", kind) + value for key, kind, value in metadata)
    for name, shape, kind, offset in tensors:
        body += gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + body
    return head + b"\0" * (-len(head) % 32) + data


METADATA = [
    ("general.architecture", 8, gguf_string("llama")), ("general.alignment", 4, struct.pack("<I", 32)),
    ("a.u8", 0, b"\1"), ("a.i8", 1, b"\xff"), ("a.u16", 2, b"\1\0"), ("a.i16", 3, b"\1\0"), ("a.i32", 5, b"\1\0\0\0"),
    ("a.f32", 6, struct.pack("<f", 1.5)), ("a.bool", 7, b"\1"), ("a.u64", 10, struct.pack("<Q", 9)),
    ("a.i64", 11, struct.pack("<q", -9)), ("a.f64", 12, struct.pack("<d", 2.5)),
    ("a.strings", 9, struct.pack("<IQ", 8, 2) + gguf_string("x") + gguf_string("yz")),
    ("a.ints", 9, struct.pack("<IQ", 5, 2) + struct.pack("<ii", 1, -2)),
    ("a.nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 2) + b"\1\2"),
]
write("gguf_fuzz", {
    "empty": gguf([], [], b""),
    "metadata": gguf(METADATA, [], b""),
    "f32": gguf(METADATA[:1], [("w", [2, 3], 0, 0)], b"\0" * 32),
    "q4_0": gguf(METADATA[:1], [("w", [32, 2], 2, 0), ("v", [4], 0, 64)], b"\0" * 96),
    "kinds": gguf([], [(f"t{kind}", [256], kind, 1024 * i) for i, kind in enumerate([1, 3, 8, 12, 13, 14, 30])], b"\0" * 8192),
    "past_end": gguf([], [("w", [1024], 0, 2**63)], b""),
    "count": b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62),
})


def tokenizer(model, **parts):
    return b"\0" + json.dumps({"version": "1.0", "added_tokens": [
        {"id": 0, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts, "model": model}).encode()


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False}
BYTES = {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}

write("tokenizer_fuzz", {
    "byte_level": tokenizer({"type": "BPE", "vocab": {"<s>": 0, "a": 1, "aa": 2, "H": 3, "\u0120": 4, "e": 5, "He": 6},
                             "merges": ["a a", "H e"]}, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL),
    "byte_fallback": tokenizer({"type": "BPE", "vocab": {"<s>": 0, **BYTES, "\u2581": 257, "l": 258, "ll": 259}, "merges": [["l", "l"]],
                                "byte_fallback": True, "fuse_unk": True, "unk_token": "<s>"},
                               normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                               decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}),
    "metaspace": tokenizer({"type": "Unigram", "unk_id": 0, "vocab": [["<s>", 0.0], ["\u2581", -1.0], ["a", -2.0], ["aa", -2.5]]},
                           pre_tokenizer=METASPACE, decoder=METASPACE),
    "wordpiece": tokenizer({"type": "WordPiece", "unk_token": "<s>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                            "vocab": {"<s>": 0, "hello": 1, "##o": 2, "don": 3, "'": 4, "t": 5}},
                           normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                                       "lowercase": True},
                           pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}),
    "split": tokenizer({"type": "BPE", "vocab": {"<s>": 0, "1": 1}, "merges": []},
                       pre_tokenizer={"type": "Split", "pattern": {"Regex": "\\d|(a+)+b"}, "behavior": "Isolated", "invert": False}),
    "many_byte_levels": tokenizer({"type": "BPE", "vocab": {"a": 0}, "merges": []},
                                  normalizer={"type": "Sequence", "normalizers": 30 * [{"type": "ByteLevel"}]}),
    "growing": tokenizer({"type": "BPE", "vocab": {"a": 0}, "merges": []}, normalizer={"type": "Sequence", "normalizers": 8 * [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}]}),
    "quadratic": tokenizer({"type": "BPE", "vocab": {"a": 0}, "merges": []},
                           pre_tokenizer={"type": "Split", "pattern": {"Regex": "a*(?=b)|a"}, "behavior": "Removed", "invert": True}),
    "twice_the_text": tokenizer({"type": "BPE", "vocab": {"a": 0}, "merges": []}, post_processor={
        "type": "TemplateProcessing", "single": "$A $A", "pair": "$A $B", "special_tokens": {}}),
    "merge_of_unknown": tokenizer({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
    "ids_past_table": tokenizer({"type": "BPE", "vocab": {"a": 2147483647, "H": 4294967295}, "merges": []}),
    # One field 1 (a piece: text, score, type) of a SentencePiece model, then field 2 (the trainer: BPE).
    "sentencepiece": b"\1" + b"".join(bytes([10, len(p) + 9, 10, len(p)]) + p + b"\x15" + struct.pack("<f", -i) + bytes([24, k])
                                      for i, (p, k) in enumerate([(b"<unk>", 2), (b"<s>", 3), (b"a", 1), (b"aa", 1), (b"<0x41>", 6)]))
                     + bytes([18, 2, 24, 2]),
    "tiktoken": b"\2YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n",
    "config": b"\3" + json.dumps({"bos_token": "<s>", "eos_token": {"content": "a"}, "added_tokens_decoder": {
        "1": {"content": "<x>", "special": True}}}).encode(),
    "template": b"\4{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m.content | string | trim }}{% endfor %}"
                b"{% if add_generation_prompt %}A:{% endif %}{{ tools | tojson }}",
    "template_macro": b"\4{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}{{ range(10**9) | list }}{{ strftime_now('%Y') }}",
    "template_namespace": b"\4{% set ns = namespace(a=0) %}{% for i in range(99) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}"
                          b"{{ raise_exception('no') }}",
    "template_shared": b"\4{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(9) %}{% set ns.a = [ns.a, ns.a] %}"
                       b"{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}{{ [ns.a, ns.b] | sort }}",
})


def archive(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def word(text):
    return b"X" + struct.pack("<I", len(text)) + text


STATE = (b"\x80\x02ccollections\nOrderedDict\n)R(" + word(b"w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + word(b"storage")
         + b"ctorch\nFloatStorage\n" + word(b"0") + word(b"cpu") + b"K\x04tQK\x00K\x02K\x02\x86K\x01K\x02\x86\x89N"
         + b"tRq\x00u}q\x01" + word(b"_metadata") + b"h\x01sb.")
write("tensor_archive_fuzz", {
    "torch": archive({"m/data.pkl": STATE, "m/byteorder": b"little", "m/data/0": bytes(16)}),
    "npz": archive({"a.npy": b"\x93NUMPY\x01\x00\x3b\x00{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n" + bytes(16)}),
    "pickle": STATE,
    "pickle_protocol_4": b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01\x8a\x01\xffG" + bytes(8) + b"e\x88.",
    "hostile": b"cos\nsystem\n(" + word(b"id") + b"tR.",
})


def form(piece, *lines):
    return bytes([piece]) + "\r\n".join(lines).encode()


FIELD = "Content-Disposition: form-data; name=model"
write("multipart_fuzz", {
    "form": form(5, "--XX", FIELD, "", "whisper", "--XX",
                 'Content-Disposition: form-data; name="file"; filename="a \\"b\\".wav"', "Content-Type: audio/wav",
                 "Content-Transfer-Encoding: binary", "", "RIFF\r\n--X", "--XX--", "epilogue"),
    "padding": form(1, "preamble", "--XX \t", FIELD, "", "", "--XX--"),
    "folder": form(2, "--XX", FIELD + '; filename="../x"', "", "x", "--XX--"),
    "star": form(3, "--XX", FIELD + "; filename*=utf-8''x", "", "x", "--XX--"),
    "truncated": form(4, "--XX", FIELD, "", "x", "--X"),
    "type": b"\x00multipart/form-data; boundary=\"a b\"; charset=utf-8",
})


GOLDENS = Path(__file__).parent.parent / "data/chat/tool_calls.json"
FAMILIES = re.findall(r"^MLXK_TOOL_FORMAT\((\w+)\)", (Path(__file__).parents[2] / "src/chat/tools/tool_formats.inc").read_text(), re.M)
write("tool_calls_fuzz", {
    f"{case['format']}_{number}": bytes([FAMILIES.index(case["format"]), number]) + case["text"].encode()
    for number, case in enumerate(json.loads(GOLDENS.read_text(encoding="utf-8"))["cases"])
})

# Images of every kind; the other files in that folder reach no other code.
IMAGES = Path(__file__).parent.parent / "data/images"
write("image_fuzz", {name: (IMAGES / name).read_bytes() for name in (
    "jpeg-420.jpg", "jpeg-progressive.jpg", "jpeg-cmyk.jpg", "jpeg-restart.jpg", "jpeg-orientation-6.jpg", "png-L-1.png",
    "png-P-4.png", "png-RGBA-16-interlaced.png", "png-exif.png", "webp-lossy.webp", "webp-alpha.webp", "webp-lossless.webp",
    "webp-animated.webp", "gif-transparent.gif", "gif-part.gif", "bmp-P.bmp", "bmp-565.bmp", "bmp-rle8.bmp", "bmp-4.bmp",
    "tiff-CMYK.tif", "tiff-lzw.tif", "tiff-deflate.tif", "tiff-1.tif")})
