"""The program under test, in a home of its own."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

try:
    import jsonschema
except ImportError:
    jsonschema = None  # documents are then not validated

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "json-api.schema.json")
REFERENCE = os.path.join(os.path.dirname(SCHEMA), "..", "..", "shared", "reference", "json-api-schema.json")
PROGRAM = os.environ["MLXK_PROGRAM"]
MODEL = os.environ.get("MLXK_TEST_MODEL") or os.path.join(os.environ.get("MLXK_TEST_MODELS", ""), "SmolLM2-135M-Instruct-4bit")

# The sanitized program is built without the engine.
needs_engine = unittest.skipUnless(
    any(os.path.exists(os.path.join(os.path.dirname(PROGRAM), "libmlxk_engine." + kind)) for kind in ("so", "dylib")), "no engine")


class ProgramTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="mlxk_cli_")
        self.addCleanup(shutil.rmtree, self.home, True)
        os.makedirs(os.path.join(self.home, "hf", "hub"))
        self.env = {
            "HOME": self.home,
            "HF_HOME": os.path.join(self.home, "hf"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        for name, value in os.environ.items():
            if name.startswith(("ASAN_", "UBSAN_", "LSAN_", "TSAN_")):
                self.env[name] = value

    def run_program(self, *args, stdin=b"", program=PROGRAM, timeout=120, env=None):
        """CompletedProcess of `mlxk args`, its streams as bytes."""
        return subprocess.run([program, *args], input=stdin, capture_output=True, timeout=timeout,
                              env={**self.env, **(env or {})}, cwd=self.home)

    def run_json(self, *args, code=0, **kwargs):
        """The one JSON document that `mlxk args` prints on stdout."""
        done = self.run_program(*args, **kwargs)
        self.assertEqual(done.returncode, code, done.stderr.decode() + done.stdout.decode())
        text = done.stdout.decode("ascii")
        document = json.loads(text)
        # Python may choose another of several equally short decimals for one double.
        layout = [re.sub(r"\b\d+\.\d+(e[-+]\d+)?\b", "0.5", one) for one in (text, json.dumps(document, indent=2) + "\n")]
        self.assertEqual(*layout, "not one document of indent 2")
        self.assert_valid(document)
        return document

    def assert_valid(self, document):
        """Validates `document` by docs/json-api.schema.json, and by MLX Knife's own schema if it is available."""
        if not jsonschema:
            return
        with open(SCHEMA, encoding="utf-8") as file:
            jsonschema.Draft7Validator(json.load(file)).validate(document)
        if os.path.exists(REFERENCE):
            with open(REFERENCE, encoding="utf-8") as file:
                reference = json.load(file)
            known = document["command"] in reference["properties"]["command"]["enum"]  # null and new keys are not
            data = document["data"] or {}
            known = known and "architectures" not in data and not any("selftest" in one for one in data.get("models", []) if isinstance(one, dict)) and data.get("mode", "quantize") in ("quantize", "repair-index")
            if known:
                jsonschema.Draft7Validator(reference).validate(document)

    def write(self, name, content):
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path


def error(kind, message, command=None):
    return {"status": "error", "command": command, "data": None, "error": {"type": kind, "message": message}}
