#!/usr/bin/env python3
"""`mlxk run` at temperature 0 gives the same answers as mlx-lm 0.32.2 in float32 (tools/make_text_goldens.py recorded it).

MLXK_BIN names the program, MLXK_TEST_MODELS a folder of model folders; a missing model is skipped.
"""
import json
import os
import pathlib
import subprocess
import sys
import unittest

GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "data" / "parity"
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def run_greedy(model, case, max_tokens):
    command = [os.environ["MLXK_BIN"], "run", str(model), case["prompt"], "--temperature", "0", "--repetition-penalty",
               "1", "--max-tokens", str(max_tokens), "--json"]
    if not case["chat"]:
        command.append("--no-chat-template")
    done = subprocess.run(command, capture_output=True, timeout=300)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"exit {done.returncode}, stdout {done.stdout[:400]!r}, stderr {done.stderr[-400:]!r}")
    if document["status"] != "success":
        raise AssertionError(document["error"])
    return document["data"]


class GreedyParity(unittest.TestCase):
    maxDiff = None

    def check_model(self, golden_file):
        golden = json.loads((GOLDENS / golden_file).read_text(encoding="utf-8"))
        root = os.environ.get("MLXK_TEST_MODELS")
        if not root:
            self.skipTest("MLXK_TEST_MODELS is not set")
        model = pathlib.Path(root) / golden["model"]
        if not (model / "config.json").exists():
            self.skipTest(f"{model} is not there")
        for case in golden["cases"]:
            with self.subTest(prompt=case["name"], smallest_gap=min(case["gaps"])):
                data = run_greedy(model, case, golden["max_tokens"])
                stopped = case["finish_reason"] == "stop"
                self.assertEqual(data["usage"]["prompt_tokens"], len(case["prompt_ids"]))
                self.assertEqual(data["response"], case["text"])
                self.assertEqual(data["usage"]["completion_tokens"], len(case["token_ids"]) + stopped)
                self.assertEqual(data["finish_reason"], case["finish_reason"])

    def test_smollm2_4bit(self):
        self.check_model("smollm2.json")

    def test_gemma3_8bit_past_its_sliding_window(self):
        self.check_model("gemma3.json")


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)
