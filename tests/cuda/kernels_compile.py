#!/usr/bin/env python3
"""kernels_compile.py ROOT: compiles the CUDA kernels for the architectures below with NVRTC from deps/nvrtc.txt.

Fails on an error, notes registers that spill; exits 77 if the compiler is not available. No GPU is needed.
"""
import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

ARCHITECTURES = ["sm_80", "sm_90a", "sm_100a", "sm_120a"]
SKIPPED = 77

AFFINE = dict(MX=0, SCALE_TYPE=2)
QMV = dict(TYPE=2, OUT_TYPE=2, NORM_TYPE=2, ROWS=1, WARPS=8)
QMM = dict(OUT_TYPE=2, PARTS=1, DEPTH=3, WIDE_SCALES=1, WARPS=8)
GROUPED = dict(WARPS=4, DEPTH=3, GATED=1, ORDERED=1)
# (file, headers, macros): what the engine asks for, and the corners of each kernel.
VARIANTS = [
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=4, GROUP=64, EVEN=1, DIGITS=1)),
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=8, GROUP=128, EVEN=1, DIGITS=1)),
    ("qmv", ["packed"], dict(AFFINE, **dict(QMV, ROWS=2), BITS=4, GROUP=64, EVEN=1)),
    ("qmv", ["packed"], dict(AFFINE, BITS=8, GROUP=32, EVEN=0, TYPE=0, OUT_TYPE=0, NORM_TYPE=0, ROWS=1, WARPS=8)),
    ("qmv", ["packed"], dict(QMV, MX=1, SCALE_TYPE=2, BITS=4, GROUP=32, EVEN=1)),
    ("qmv", ["packed"], dict(QMV, MX=1, SCALE_TYPE=2, BITS=4, GROUP=64, EVEN=1, DIGITS=1)),
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=16, GROUP=64, EVEN=1)),
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=4, GROUP=64, EVEN=1, EXPERTS=1, SLOT_STEPS=1, DIGITS=1)),
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=4, GROUP=64, EVEN=1, EXPERTS=2, SLOT_STEPS=12, DIGITS=1)),
    ("qmv", ["packed"], dict(AFFINE, **QMV, BITS=8, GROUP=64, EVEN=0, EXPERTS=2, SLOT_STEPS=22)),
    ("qmv", ["packed"], dict(AFFINE, **dict(QMV, ROWS=4), BITS=4, GROUP=64, EVEN=1, EXPERTS=3, SLOT_STEPS=1)),
    ("qmv", ["packed"], dict(AFFINE, **dict(QMV, ROWS=4, WARPS=3), BITS=4, GROUP=64, EVEN=1, EXPERTS=3, SLOT_STEPS=1)),
    ("qmv", ["packed", "routing"], dict(AFFINE, **QMV, BITS=8, GROUP=64, EVEN=1, ROUTE=1, LANE_EXPERTS=4, DIGITS=1)),
    ("qmm", ["packed"], dict(AFFINE, **QMM, BITS=4, GROUP=64, TILES=1, BANDS=2, RESIDENT=2)),
    ("qmm", ["packed"], dict(AFFINE, **dict(QMM, WARPS=3), BITS=4, GROUP=64, TILES=1, BANDS=4, RESIDENT=4, EXPERTS=1)),
    ("qmm", ["packed"], dict(AFFINE, **QMM, BITS=4, GROUP=64, TILES=4, BANDS=4, RESIDENT=1, EXPERTS=1)),
    ("qmm", ["packed"], dict(AFFINE, **QMM, BITS=4, GROUP=64, TILES=4, BANDS=4, RESIDENT=1)),
    ("qmm", ["packed"], dict(AFFINE, **QMM, BITS=8, GROUP=64, TILES=4, BANDS=2, RESIDENT=1)),
    ("qmm", ["packed"], dict(AFFINE, **QMM, BITS=16, GROUP=64, TILES=4, BANDS=2, RESIDENT=1)),
    ("grouped", ["packed"], dict(AFFINE, **GROUPED, BITS=4, GROUP=64, TILES=1, RESIDENT=4)),
    ("grouped", ["packed"], dict(AFFINE, **GROUPED, BITS=4, GROUP=64, TILES=8, RESIDENT=3)),
    ("grouped", ["packed"], dict(AFFINE, **dict(GROUPED, GATED=0, ORDERED=0), BITS=8, GROUP=32, TILES=8, RESIDENT=2)),
    ("grouped", ["packed"], dict(AFFINE, **dict(GROUPED, DEPTH=2, ORDERED=0), BITS=16, GROUP=64, TILES=8, RESIDENT=2)),
    ("grouped", ["packed"], dict(GROUPED, MX=1, SCALE_TYPE=2, BITS=4, GROUP=32, TILES=2, RESIDENT=4)),
    ("rows", [], dict(TYPE=0, NORM_TYPE=2)),
    ("rows", [], dict(TYPE=2, NORM_TYPE=2, ORDERED=1)),
    ("route", ["routing"], dict(TYPE=2, LANE_EXPERTS=4)),
    ("route", ["routing"], dict(TYPE=0, LANE_EXPERTS=32)),
    ("unpack", ["packed"], dict(AFFINE, BITS=4, GROUP=64, TYPE=2)),
    ("unpack", ["packed"], dict(MX=1, SCALE_TYPE=2, BITS=4, GROUP=32, TYPE=1)),
    ("blocks", [], dict()),
    ("sample", [], dict(TYPE=2)),
    ("sample", [], dict(TYPE=0)),
    ("decode_attention", [], dict(TYPE=2, NORM_TYPE=2, HEAD_DIM=128, HEADS=4, TENSOR=1)),
    ("decode_attention", [], dict(TYPE=1, NORM_TYPE=1, HEAD_DIM=64, HEADS=8, TENSOR=1)),
    ("decode_attention", [], dict(TYPE=0, NORM_TYPE=0, HEAD_DIM=256, HEADS=4, TENSOR=0)),
]


def fetched(root):
    """The folder of the compiler's libraries; None if it is not available."""
    command = [root / "tools/fetch-wheel", root / "deps/nvrtc.txt", root / "build/deps"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        print(run.stderr.strip())
        return None
    found = sorted(Path(run.stdout.strip()).rglob("libnvrtc.so.*"))
    return found[0].parent if found else None


class Compiler:
    def __init__(self, folder):
        self.library = ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*"))))

    def text(self, program, what):
        """The program's log or code."""
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    def compile(self, source, options):
        """(whether it compiled, the log)."""
        program = ctypes.c_void_p()
        if self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None) != 0:
            return False, "nvrtcCreateProgram failed"
        texts = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        error = self.library.nvrtcCompileProgram(program, len(options), texts)
        log = self.text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        compiled = error == 0 and len(self.text(program, "CUBIN")) > 0
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return compiled, log


def main():
    root = Path(sys.argv[1]).resolve()
    folder = fetched(root)
    if folder is None:
        print("CUDA's run-time compiler is not here and cannot be fetched")
        return SKIPPED
    if str(folder) not in os.environ.get("LD_LIBRARY_PATH", "").split(":"):  # read when a process starts
        path = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, LD_LIBRARY_PATH=path))
    compiler, kernels, failed = Compiler(folder), root / "src/kernels/cuda", 0
    untried = {path.stem for path in kernels.glob("*.cu")} - {file for file, _, _ in VARIANTS}
    for name in sorted(untried):
        print(f"{name}.cu: no variant of it is compiled here")
    for architecture in ARCHITECTURES:
        for file, headers, macros in VARIANTS:
            names = ["common.cuh", *(f"{header}.cuh" for header in headers), f"{file}.cu"]
            source = "".join((kernels / name).read_text() for name in names)
            options = [f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v"]
            compiled, log = compiler.compile(source, options + [f"-D{k}={v}" for k, v in macros.items()])
            if not compiled:
                failed += 1
                print(f"{architecture} {file}.cu {macros}: does not compile\n{log}")
            elif spilled := re.search(r"[1-9]\d* bytes spill stores", log):
                print(f"note: {architecture} {file}.cu {macros}: {spilled[0]}")
    print(f"{len(ARCHITECTURES) * len(VARIANTS) - failed} compiled, {failed} failed")
    return 1 if failed or untried else 0


if __name__ == "__main__":
    sys.exit(main())
