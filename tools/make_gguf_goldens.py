#!/usr/bin/env python3
"""make_gguf_goldens.py OUT: writes a GGUF file with two rows of random blocks of every type that mlxk dequantises, and beside
each the float32 values that the `gguf` package gives for them ("<type>.expected"). For tests/data/gguf/blocks.gguf.

needs: numpy, gguf==0.19.0
"""
import sys

import gguf
import numpy as np

# Byte offsets of the half-precision fields in a block: random bits there would be infinities.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}


def main(out):
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(out, "blocks")
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.words", ["one", "zwei", "三"])
    writer.add_float32("test.float", 0.5)
    writer.add_bool("test.bool", True)
    for name, halves in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (2, 1, size), dtype=np.uint8)
        for at in halves:
            value = random.uniform(-2, 2, (2, 1, 1)).astype(np.float16)
            blocks[..., at : at + 2] = value.view(np.uint8)
        if name == "MXFP4":
            blocks[..., 0] = np.array([[1], [130]], dtype=np.uint8)  # one below the normal exponents
        rows = blocks.reshape(2, size)
        writer.add_tensor(name, rows, raw_dtype=kind)
        writer.add_tensor(name + ".expected", gguf.dequantize(rows, kind).astype(np.float32).reshape(2, elements))
    floats = random.normal(size=(2, 8)).astype(np.float32)
    writer.add_tensor("F16", floats.astype(np.float16))
    writer.add_tensor("F16.expected", floats.astype(np.float16).astype(np.float32))
    bits = floats.view(np.uint32) & 0xFFFF0000
    writer.add_tensor("BF16", (bits >> 16).astype(np.uint16).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.add_tensor("BF16.expected", bits.view(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
